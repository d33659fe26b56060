package store

import (
	"strconv"
	"strings"
)

// The names of the keys. The part in braces decides the slot: all keys of one
// ledger partition p share a slot, and so do all keys of the accounts and all
// indexes. No key carries a TTL; what expires is data, removed by the sweep.

// Locator is the STRING by which a secret's digest finds its key record.
func Locator(digest string) string { return "x:" + digest }

// Owner is the HASH of a key's, user's or team's record and limits.
func Owner(p int, id string) string { return inPartition("k:{", p, "}:"+id) }

// Balance is the HASH of an owner's windows, budgets and held amount.
func Balance(p int, id string) string { return inPartition("b:{", p, "}:"+id) }

// Balances is the pattern of every Balance, for a scan.
const Balances = "b:{*"

// OwnerOf is the partition and owner whose Balance a key is.
func OwnerOf(balance string) (p int, id string, ok bool) {
	number, id, ok := strings.Cut(strings.TrimPrefix(balance, "b:{"), "}:")
	p, err := strconv.Atoi(number)
	return p, id, ok && err == nil && p >= 0 && balance == Balance(p, id)
}

// Intents is the HASH of a partition's open calls by call id.
func Intents(p int) string { return inPartition("i:{", p, "}") }

// Due is the ZSET of a partition's open calls by the time they expire.
func Due(p int) string { return inPartition("i:{", p, "}:due") }

// Done is the SET of call ids settled in one bucket of time.
func Done(p int, bucket int64) string {
	return inPartition("d:{", p, "}:"+strconv.FormatInt(bucket, 10))
}

// Tombs is the HASH of a partition's calls that the sweep settled as lost, of one
// day: what it counted for each, should the call's process turn out to be alive.
func Tombs(p int, day int64) string { return inPartition("t:{", p, "}:"+strconv.FormatInt(day, 10)) }

// Swept is the STRING of when a partition was last looked at for calls of dead
// processes, in Unix milliseconds.
func Swept(p int) string { return inPartition("s:{", p, "}") }

// Usage is the STREAM of a partition's settled usage records.
func Usage(p int) string { return inPartition("u:{", p, "}") }

// Outbox is the STREAM of a partition's events that wait to be published.
func Outbox(p int) string { return inPartition("e:{", p, "}") }

// Cursors is the HASH that says how far a partition's records are rolled up and
// archived, and since when its sums are kept.
func Cursors(p int) string { return inPartition("r:{", p, "}") }

// Rollup is the HASH of a partition's sums in one bucket of a grain (hour, day
// or month).
func Rollup(p int, grain, bucket string) string {
	return inPartition("r:{", p, "}:"+grain+":"+bucket)
}

// Accounts is the HASH of all accounts' records.
func Accounts() string { return "a:{a}" }

// AccountsVersion is the STRING that counts changes of the accounts.
func AccountsVersion() string { return "a:{a}:version" }

// AccountLeases is the ZSET of an account's calls in flight.
func AccountLeases(id string) string { return "l:{a}:" + id }

// AccountHealth is the HASH of an account's state.
func AccountHealth(id string) string { return "h:{a}:" + id }

// VendorHealth is the HASH of a vendor's cool-downs.
func VendorHealth(vendor string) string { return "v:{a}:" + vendor }

// CallLeases is the HASH from a call and attempt to the account it leased.
func CallLeases() string { return "c:{a}" }

// Index is the index of all records of one kind.
func Index(kind string) string { return "n:{n}:" + kind }

func inPartition(prefix string, p int, suffix string) string {
	return prefix + strconv.Itoa(p) + suffix
}
