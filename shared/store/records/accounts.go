package records

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/store"
)

// Accounts are the accounts in the store. All are in one slot with a version that
// counts their changes, so that a router sees one as soon as it leases.
type Accounts struct{ s *Store }

func accountRef(id string) ref { return ref{archive.Account, id} }

// Create stores a new account. The caller sets everything but the version and the
// times. It answers with what was stored. It errs with fault.Invalid when its id
// is malformed, Conflict when there is one with its id, and StoreDown.
func (a *Accounts) Create(ctx context.Context, by string, account pool.Account) (pool.Account, error) {
	s, r := a.s, accountRef(account.ID)
	end, err := s.begin(ctx)
	if err != nil {
		return pool.Account{}, err
	}
	defer end()
	if err := r.check(); err != nil {
		return pool.Account{}, err
	}
	if _, err := s.rawAccount(ctx, r.id); fault.CodeOf(err) != fault.NotFound {
		if err == nil {
			err = fault.New(fault.Conflict, "there is an account %q already", r.id)
		}
		return pool.Account{}, err
	}
	account.Version = 1
	account.CreatedAt = s.stamp()
	account.UpdatedAt = account.CreatedAt
	err = a.put(ctx, by, absent, account)
	return account, err
}

// Get reads an account. It errs with fault.NotFound or StoreDown.
func (a *Accounts) Get(ctx context.Context, id string) (pool.Account, error) {
	text, err := a.s.rawAccount(ctx, id)
	if err != nil {
		return pool.Account{}, err
	}
	var account pool.Account
	err = decode(accountRef(id), text, &account)
	return account, err
}

// List reads accounts, newest first: at most limit (1 to 200; 0 = 200) after a
// cursor, and the cursor of the page after these, "" when these are the last. It
// errs with fault.Invalid for a bad cursor, and StoreDown.
func (a *Accounts) List(ctx context.Context, cursor string, limit int) ([]pool.Account, string, error) {
	if err := checkCursor(cursor); err != nil {
		return nil, "", err
	}
	// Accounts are few, and the router reads all of them at once; their ids are
	// their index.
	ids, err := a.s.client.Redis().HKeys(ctx, store.Accounts()).Result()
	if err != nil {
		return nil, "", store.Fault(err)
	}
	ids, next := after(ids, cursor, limit)
	if len(ids) == 0 {
		return nil, "", nil
	}
	texts, err := a.s.client.Redis().HMGet(ctx, store.Accounts(), ids...).Result()
	if err != nil {
		return nil, "", store.Fault(err)
	}
	page := make([]pool.Account, 0, len(ids))
	for i, v := range texts {
		text, ok := v.(string)
		if !ok {
			continue // deleted right now
		}
		var account pool.Account
		if err := decode(accountRef(ids[i]), text, &account); err != nil {
			return nil, "", err
		}
		page = append(page, account)
	}
	return page, next, nil
}

// after is the page of ids after a cursor, newest first, and the cursor of the next.
func after(ids []string, cursor string, limit int) ([]string, string) {
	if cursor != "" {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id >= cursor })
	}
	slices.SortFunc(ids, func(x, y string) int { return cmp.Compare(y, x) })
	if limit = pageSize(limit); len(ids) <= limit {
		return ids, ""
	}
	return ids[:limit], ids[limit-1]
}

// Update replaces the account of the version that was read (account.Version) and
// answers with what was stored. It errs with fault.NotFound, Conflict when it was
// changed meanwhile, and StoreDown.
func (a *Accounts) Update(ctx context.Context, by string, account pool.Account) (pool.Account, error) {
	s, r := a.s, accountRef(account.ID)
	end, err := s.begin(ctx)
	if err != nil {
		return pool.Account{}, err
	}
	defer end()
	text, err := s.rawAccount(ctx, r.id)
	if err != nil {
		return pool.Account{}, err
	}
	var old pool.Account
	if err := decode(r, text, &old); err != nil {
		return pool.Account{}, err
	}
	if err := r.unchanged(old.Version, account.Version); err != nil {
		return pool.Account{}, err
	}
	account.Version = old.Version + 1
	account.CreatedAt, account.UpdatedAt = old.CreatedAt, s.stamp()
	err = a.put(ctx, by, text, account)
	return account, err
}

// put writes an account over what was read.
func (a *Accounts) put(ctx context.Context, by, read string, account pool.Account) error {
	s, r := a.s, accountRef(account.ID)
	image, err := encode(r, &account)
	if err != nil {
		return err
	}
	return s.write(ctx, change{
		ref: r, by: by, action: archive.Put, version: account.Version, image: image,
		steps: []step{s.putAccount(r, read, string(image))},
	})
}

// Delete removes the account of the version that was read, 0 = whichever stands.
// It errs with fault.NotFound, Conflict when it was changed meanwhile, and
// StoreDown.
func (a *Accounts) Delete(ctx context.Context, by, id string, version int64) error {
	s, r := a.s, accountRef(id)
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	text, err := s.rawAccount(ctx, id)
	if err != nil {
		return err
	}
	var old pool.Account
	if err := decode(r, text, &old); err != nil {
		return err
	}
	if version != 0 {
		if err := r.unchanged(old.Version, version); err != nil {
			return err
		}
	}
	return s.write(ctx, change{
		ref: r, by: by, action: archive.Delete, version: old.Version,
		steps: []step{s.putAccount(r, text, "")},
	})
}

// rawAccount is an account as JSON. It errs with fault.NotFound or StoreDown.
func (s *Store) rawAccount(ctx context.Context, id string) (string, error) {
	text, err := s.client.Redis().HGet(ctx, store.Accounts(), id).Result()
	if errors.Is(err, redis.Nil) {
		return "", accountRef(id).missing()
	}
	return text, store.Fault(err)
}

// putAccount replaces the account's JSON that was read; "" deletes it.
func (s *Store) putAccount(r ref, read, image string) step {
	return func(ctx context.Context) error {
		answer, err := s.client.Run(ctx, store.Call{
			Script: s.scripts.accountPut,
			Keys:   []string{store.Accounts(), store.AccountsVersion()},
			Args:   []any{r.id, read, image},
		})
		if err != nil {
			return err
		}
		if answer != int64(1) {
			return r.changed()
		}
		return nil
	}
}
