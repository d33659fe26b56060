// Package chaos holds the ledger to its word while everything it stands on fails.
// It has tests only: they run four processes of the product over a Redis Cluster
// with replicas and a stand-in vendor that keeps a bill of its own, send calls of
// every kind, and meanwhile break one thing after another: clients leave, the vendor
// cuts, stalls and refuses, processes are killed and frozen, Redis fails over, loses
// what it had acknowledged, slows down, is cut off and stops.
//
// A run is a list of episodes. Each has owners and keys of its own, so that what one
// leaves behind is not blamed on the next, and a key for each call, so that a row of
// the ledger and a line of the bill are known to be of one call whatever the client
// got to see of it. After each episode, within the TTL of an open call and a sweep,
// the invariants of verify must hold.
//
// The seed decides the order of the episodes, what each call asks for and what is
// broken where and when. It does not decide how the operating system interleaves
// eleven processes: a seed that failed makes the same failure likely, not certain.
package chaos
