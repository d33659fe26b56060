package records_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/store"
)

func (b *bench) newAccount(t testing.TB, name string) pool.Account {
	t.Helper()
	a := pool.Account{
		ID: llm.NewID("acct_", b.now()), Name: name, Provider: "compatible", Auth: provider.Bearer,
		Sealed: []byte{1, 2, 3}, Weight: 1,
	}
	return must(b.Accounts().Create(t.Context(), by, a))(t)
}

func TestAccountLife(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		version := func(want string) {
			t.Helper()
			if got := b.client.Redis().Get(ctx, store.AccountsVersion()).Val(); got != want {
				t.Errorf("version of the accounts %q, want %q", got, want)
			}
		}
		a := b.newAccount(t, "first")
		version("1")
		if diff := cmp.Diff(a, must(b.Accounts().Get(ctx, a.ID))(t)); diff != "" || a.Version != 1 {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		a.Paused = true
		changed := must(b.Accounts().Update(ctx, by, a))(t)
		version("2")
		if changed.Version != 2 || changed.CreatedAt != a.CreatedAt || !changed.UpdatedAt.After(a.UpdatedAt) {
			t.Errorf("updated %+v", changed)
		}
		_, err := b.Accounts().Update(ctx, by, a)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		_, err = b.Accounts().Create(ctx, by, a)
		wantFault(t, err, fault.Conflict, "already")
		_, err = b.Accounts().Create(ctx, by, pool.Account{})
		wantFault(t, err, fault.Invalid, "an id has")
		wantFault(t, b.Accounts().Delete(ctx, by, a.ID, 1), fault.Conflict, "was changed since it was read")
		version("2")
		if err := b.Accounts().Delete(ctx, by, a.ID, 2); err != nil {
			t.Fatal(err)
		}
		version("3")
		_, err = b.Accounts().Get(ctx, a.ID)
		wantFault(t, err, fault.NotFound, a.ID)
		_, err = b.Accounts().Update(ctx, by, changed)
		wantFault(t, err, fault.NotFound, a.ID)
		wantFault(t, b.Accounts().Delete(ctx, by, a.ID, 0), fault.NotFound, a.ID)
	})
}

func TestAccountPages(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		if page, next, err := b.Accounts().List(t.Context(), "", 1); len(page) != 0 || next != "" || err != nil {
			t.Errorf("List of nothing = %v, %q, %v", page, next, err)
		}
		first, second := b.newAccount(t, "first"), b.newAccount(t, "second")
		page, next, err := b.Accounts().List(t.Context(), "", 1)
		if err != nil || len(page) != 1 || page[0].ID != second.ID {
			t.Fatalf("first page %v, %v", page, err)
		}
		page, next, err = b.Accounts().List(t.Context(), next, 1)
		if err != nil || len(page) != 1 || page[0].ID != first.ID || next != "" {
			t.Errorf("second page %v, %q, %v", page, next, err)
		}
	})
}

func TestAccountChangedByAnotherProcess(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		other := newBench(t, b.client)
		a := b.newAccount(t, "first")
		b.log.before = func(archive.Entry) error {
			b.log.before = nil
			_, err := other.Accounts().Update(t.Context(), by, a)
			return err
		}
		wantFault(t, b.Accounts().Delete(t.Context(), by, a.ID, 1), fault.Conflict, "was changed since it was read")
		if logged := b.log.last(t); logged.Action != archive.Put || logged.Version != 2 {
			t.Errorf("the log ends with %+v", logged)
		}
	})
}
