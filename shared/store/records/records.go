// Package records stores what operators configure: keys, users, teams and
// accounts, and reads back the usage records that calls leave.
//
// A key, user or team is a HASH in the ledger partition of the owner whose
// budget its calls draw on, so that one script admits a call against all of
// them; an index in one slot finds records by id and lists them. A write goes to
// the config log first and then, step by step, to Redis. Each step is idempotent
// and conditional on the version that was read, so a write that was interrupted
// is completed by repeating it, and its secret is never returned before it works.
package records

import (
	"context"
	"time"

	"sluice/shared/archive"
	"sluice/shared/store"
)

// Log is the config log. Append returns when the entry is durable. It errs with
// fault.StoreDown when the log cannot be written; nothing was changed then.
type Log interface {
	Append(ctx context.Context, e archive.Entry) error
}

// Vault seals the after-images in the log; see vault.Vault.
type Vault interface {
	Seal(ctx context.Context, plain []byte, context string) ([]byte, error)
	Open(ctx context.Context, sealed []byte, context string) ([]byte, error)
}

// Options make a Store. Client, Vault and Log are required.
type Options struct {
	Client *store.Client
	Vault  Vault
	Log    Log
	Now    func() time.Time // nil = time.Now
}

// maxPage is the largest number of records that a list answers with.
const maxPage = 200

// Store holds every record. It is safe for concurrent use.
type Store struct {
	client  *store.Client
	vault   Vault
	log     Log
	now     func() time.Time
	scripts scripts

	// writing has room for one writer: within a process a check, its log entry
	// and its steps are not interleaved with another's.
	writing chan struct{}
}

// New is a Store.
func New(o Options) *Store {
	s := &Store{
		client: o.Client, vault: o.Vault, log: o.Log, now: o.Now,
		scripts: newScripts(), writing: make(chan struct{}, 1),
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Keys are the keys in the store.
func (s *Store) Keys() *Keys { return &Keys{s} }

// Users are the users in the store.
func (s *Store) Users() *Users { return &Users{s} }

// Teams are the teams in the store.
func (s *Store) Teams() *Teams { return &Teams{s} }

// Accounts are the accounts in the store.
func (s *Store) Accounts() *Accounts { return &Accounts{s} }

// Usage is the usage that calls left in the ledger.
func (s *Store) Usage() *Usage { return &Usage{s} }
