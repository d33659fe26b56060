package records_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/store"
	"sluice/shared/store/records"
	"sluice/shared/vault"
)

// snapshot is everything that the store holds, by key and member.
func (b *bench) snapshot(t testing.TB) map[string]map[string]string {
	t.Helper()
	all := make(map[string]map[string]string)
	for _, name := range b.names(t) {
		ctx, rdb := t.Context(), b.client.Redis()
		content := map[string]string{}
		switch kind := must(rdb.Type(ctx, name).Result())(t); kind {
		case "string":
			content[""] = must(rdb.Get(ctx, name).Result())(t)
		case "hash":
			content = must(rdb.HGetAll(ctx, name).Result())(t)
		case "zset":
			for _, member := range must(rdb.ZRange(ctx, name, 0, -1).Result())(t) {
				content[member] = ""
			}
		default:
			t.Fatalf("%s is a %s", name, kind)
		}
		all[name] = content
	}
	return all
}

// scan is every key of a node; KEYS is forbidden to the user of a deployment.
func scan(ctx context.Context, node *redis.Client) (names []string, err error) {
	for found := node.Scan(ctx, 0, "*", 1000).Iterator(); ; names = append(names, found.Val()) {
		if !found.Next(ctx) {
			return names, found.Err()
		}
	}
}

func (b *bench) names(t testing.TB) []string {
	t.Helper()
	cluster, ok := b.client.Redis().(*redis.ClusterClient)
	if !ok {
		return must(b.client.Redis().Keys(t.Context(), "*").Result())(t)
	}
	found := make(chan []string, 16)
	err := cluster.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		names, err := scan(ctx, node)
		found <- names
		return err
	})
	close(found)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for names := range found {
		all = append(all, names...)
	}
	return all
}

func (b *bench) restore(t testing.TB) {
	t.Helper()
	for _, e := range slices.Clone(b.log.entries) {
		if err := b.Restore(t.Context(), e); err != nil {
			t.Fatalf("entry %d: %v", e.Seq, err)
		}
	}
}

// story makes changes of every kind.
func (b *bench) story(t testing.TB) {
	ctx := t.Context()
	from, to := b.newTeam(t, "from"), b.newTeam(t, "to")
	user, gone := b.newUser(t, "user", from.ID), b.newUser(t, "gone", "")
	user.Team = to.ID
	user = must(b.Users().Update(ctx, by, user))(t)
	key := b.newKey(t, "one", func(k *admission.Key) { k.User = user.ID })
	key.Digest = digest("two")
	must(b.Keys().Update(ctx, by, key))(t)
	dead := b.newKey(t, "dead", func(k *admission.Key) { k.Team = from.ID })
	account, closed := b.newAccount(t, "first"), b.newAccount(t, "closed")
	account.Paused = true
	must(b.Accounts().Update(ctx, by, account))(t)
	for _, remove := range []func() error{
		func() error { return b.Keys().Delete(ctx, by, dead.ID, 0) },
		func() error { return b.Users().Delete(ctx, by, gone.ID, 0) },
		func() error { return b.Teams().Delete(ctx, by, from.ID, 0) },
		func() error { return b.Accounts().Delete(ctx, by, closed.ID, 0) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestore(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.story(t)
		want := b.snapshot(t)
		b.restore(t)
		again := b.snapshot(t)
		for _, name := range b.names(t) {
			if err := b.client.Redis().Del(t.Context(), name).Err(); err != nil {
				t.Fatal(err)
			}
		}
		b.restore(t)
		for name, got := range map[string]map[string]map[string]string{
			"over what stands": again, "into nothing": b.snapshot(t),
		} {
			// The version of the accounts only has to change.
			got[store.AccountsVersion()] = want[store.AccountsVersion()]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.newKey(t, "one", nil)
		good := b.log.last(t)
		moved, cut, strange, odd := good, good, good, good
		moved.ID, cut.Sealed, strange.Kind, odd.ID = "key_2", good.Sealed[:5], "", "{}"
		for name, e := range map[string]archive.Entry{"moved": moved, "cut": cut, "strange": strange} {
			if err := b.Restore(t.Context(), e); fault.CodeOf(err) != fault.Internal {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := b.Restore(t.Context(), odd); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("odd: %v", err)
		}
		good.Sealed = must(b.vault.Seal(t.Context(), []byte("no json"), good.Context()))(t)
		if err := b.Restore(t.Context(), good); fault.CodeOf(err) != fault.Internal {
			t.Errorf("no JSON: %v", err)
		}
	})
}

// A key whose owner is gone is deleted further on in the log: until then it is
// there, but its secret finds nothing.
func TestRestoreKeyWithoutOwner(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		user := b.newUser(t, "user", "")
		key := b.newKey(t, "one", func(k *admission.Key) { k.User = user.ID })
		created := b.log.last(t)
		if err := b.Keys().Delete(t.Context(), by, key.ID, 0); err != nil {
			t.Fatal(err)
		}
		deleted := b.log.last(t)
		if err := b.Users().Delete(t.Context(), by, user.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := b.Restore(t.Context(), created); err != nil {
			t.Fatal(err)
		}
		if b.located(t, "one") != nil {
			t.Error("the secret of a key without its user is located")
		}
		for range 2 {
			if err := b.Restore(t.Context(), deleted); err != nil {
				t.Fatal(err)
			}
		}
		if names := b.names(t); len(names) > 0 {
			t.Errorf("left behind: %v", names)
		}
	})
}

// broken fails to seal.
type broken struct{ *vault.Vault }

func (broken) Seal(context.Context, []byte, string) ([]byte, error) {
	return nil, context.DeadlineExceeded
}

func TestNothingIsWrittenUnsealed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		s := records.New(records.Options{Client: b.client, Vault: broken{b.vault}, Log: b.log})
		var team admission.Team
		team.ID = "team_1"
		_, err := s.Teams().Create(t.Context(), by, team)
		wantFault(t, err, fault.Internal, "cannot be sealed")
		_, err = s.Accounts().Create(t.Context(), by, pool.Account{ID: "acct_1"})
		wantFault(t, err, fault.Internal, "cannot be sealed")
		if names := b.names(t); len(names) > 0 || len(b.log.entries) > 0 {
			t.Errorf("written: %v, %v", names, b.log.entries)
		}
	})
}

func TestSecretsAreSealedInTheLog(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		a := b.newAccount(t, "a rare name")
		if sealed := b.log.last(t).Sealed; bytes.Contains(sealed, []byte(a.Name)) {
			t.Error("the log shows the record")
		}
	})
}

func TestDamage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx, rdb := t.Context(), b.client.Redis()
		key, user, account := b.newKey(t, "one", nil), b.newUser(t, "user", ""), b.newAccount(t, "first")
		for _, err := range []error{
			rdb.HSet(ctx, store.Owner(admission.PartitionOf(key.ID), key.ID), "rec", "{").Err(),
			rdb.Set(ctx, store.Locator(digest("one")), "{", 0).Err(),
			rdb.HSet(ctx, store.Index("users:p"), user.ID, "99").Err(),
			rdb.HSet(ctx, store.Accounts(), account.ID, "{").Err(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		late := admission.Key{Digest: digest("one")}
		late.ID = "key_late"
		for name, read := range map[string]func() error{
			"key":            func() error { _, err := b.Keys().Get(ctx, key.ID); return err },
			"keys":           func() error { _, _, err := b.Keys().List(ctx, "", 0); return err },
			"key update":     func() error { _, err := b.Keys().Update(ctx, by, key); return err },
			"key delete":     func() error { return b.Keys().Delete(ctx, by, key.ID, 0) },
			"locator":        func() error { _, err := b.Keys().Create(ctx, by, late); return err },
			"user":           func() error { _, err := b.Users().Get(ctx, user.ID); return err },
			"users":          func() error { _, _, err := b.Users().List(ctx, "", 0); return err },
			"user update":    func() error { _, err := b.Users().Update(ctx, by, user); return err },
			"user delete":    func() error { return b.Users().Delete(ctx, by, user.ID, 0) },
			"account":        func() error { _, err := b.Accounts().Get(ctx, account.ID); return err },
			"accounts":       func() error { _, _, err := b.Accounts().List(ctx, "", 0); return err },
			"account update": func() error { _, err := b.Accounts().Update(ctx, by, account); return err },
			"account delete": func() error { return b.Accounts().Delete(ctx, by, account.ID, 0) },
		} {
			if err := read(); fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestStoreDown(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key, user, account := b.newKey(t, "one", nil), b.newUser(t, "user", ""), b.newAccount(t, "first")
		var team admission.Team
		team.ID = "team_1"
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		logged := len(b.log.entries)
		for name, do := range map[string]func(context.Context) error{
			"get":            func(ctx context.Context) error { _, err := b.Keys().Get(ctx, key.ID); return err },
			"list":           func(ctx context.Context) error { _, _, err := b.Keys().List(ctx, "", 0); return err },
			"update":         func(ctx context.Context) error { _, err := b.Keys().Update(ctx, by, key); return err },
			"delete":         func(ctx context.Context) error { return b.Keys().Delete(ctx, by, key.ID, 0) },
			"user delete":    func(ctx context.Context) error { return b.Users().Delete(ctx, by, user.ID, 0) },
			"team create":    func(ctx context.Context) error { _, err := b.Teams().Create(ctx, by, team); return err },
			"accounts":       func(ctx context.Context) error { _, _, err := b.Accounts().List(ctx, "", 0); return err },
			"account update": func(ctx context.Context) error { _, err := b.Accounts().Update(ctx, by, account); return err },
			"counts":         func(ctx context.Context) error { _, _, _, _, err := b.Counts(ctx); return err },
		} {
			err := do(ctx)
			if fault.CodeOf(err) != fault.StoreDown && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(b.log.entries) != logged {
			t.Error("a write that could not be checked was logged")
		}
	})
}
