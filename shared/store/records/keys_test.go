package records_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

func TestKeyLife(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		key := b.newKey(t, "one", func(k *admission.Key) {
			k.ExpiresAt, k.ExpiresAfterFirstUse = &expires, 60
			k.Tags = map[string]string{"env": "test"}
		})
		if key.Version != 1 || key.CreatedAt.IsZero() || key.UpdatedAt != key.CreatedAt {
			t.Errorf("created %+v", key)
		}
		p := admission.PartitionOf(key.ID)
		if diff := cmp.Diff(&admission.Locator{Partition: p, Key: key}, b.located(t, "one")); diff != "" {
			t.Errorf("locator (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(key, must(b.Keys().Get(ctx, key.ID))(t)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}

		// What Admit adds to the record stays.
		if err := b.client.Redis().HSet(ctx, store.Owner(p, key.ID), "first", "12345").Err(); err != nil {
			t.Fatal(err)
		}
		key.Name = "renamed"
		changed := must(b.Keys().Update(ctx, by, key))(t)
		if changed.Version != 2 || changed.CreatedAt != key.CreatedAt || !changed.UpdatedAt.After(key.UpdatedAt) {
			t.Errorf("updated %+v", changed)
		}
		h := b.owner(t, p, key.ID)
		if h["first"] != "12345" || h["ver"] != "2" || h["kind"] != "key" || len(h) != 4 {
			t.Errorf("record %v", h)
		}
		if loc := b.located(t, "one"); loc == nil || loc.Key.Name != "renamed" || loc.Key.Version != 2 {
			t.Errorf("locator after an update %+v", loc)
		}

		_, err := b.Keys().Update(ctx, by, key)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		wantFault(t, b.Keys().Delete(ctx, by, key.ID, 1), fault.Conflict, "was changed since it was read")
		if err := b.Keys().Delete(ctx, by, key.ID, 2); err != nil {
			t.Fatal(err)
		}
		_, err = b.Keys().Get(ctx, key.ID)
		wantFault(t, err, fault.NotFound, key.ID)
		_, err = b.Keys().Update(ctx, by, changed)
		wantFault(t, err, fault.NotFound, key.ID)
		wantFault(t, b.Keys().Delete(ctx, by, key.ID, 0), fault.NotFound, key.ID)
		if loc := b.located(t, "one"); loc != nil || len(b.owner(t, p, key.ID)) > 0 {
			t.Errorf("left behind: %+v, %v", loc, b.owner(t, p, key.ID))
		}
		b.newKey(t, "one", nil) // the secret is free again
	})
}

func TestKeyRotation(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key, other := b.newKey(t, "one", nil), b.newKey(t, "other", nil)
		key.Digest, key.Hint = other.Digest, "oops"
		_, err := b.Keys().Update(t.Context(), by, key)
		wantFault(t, err, fault.Conflict, "another key has the same secret")
		if b.located(t, "one") == nil || b.located(t, "other").Key.ID != other.ID {
			t.Error("a refused rotation changed a locator")
		}
		key.Digest, key.Hint = digest("two"), "two"
		key = must(b.Keys().Update(t.Context(), by, key))(t)
		if b.located(t, "one") != nil {
			t.Error("the old secret still finds the key")
		}
		if loc := b.located(t, "two"); loc == nil || loc.Key.ID != key.ID || loc.Key.Hint != "two" {
			t.Errorf("the new secret finds %+v", loc)
		}
	})
}

func TestKeyOfUserAndTeam(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		team, other := b.newTeam(t, "team"), b.newTeam(t, "other")
		user, loner := b.newUser(t, "user", team.ID), b.newUser(t, "loner", "")
		of := func(user, team string) func(*admission.Key) {
			return func(k *admission.Key) { k.User, k.Team = user, team }
		}
		for _, tt := range []struct {
			name      string
			key       admission.Key
			team      string
			partition int
			owners    int
		}{
			{"of a user", b.newKey(t, "1", of(user.ID, "")), team.ID, admission.PartitionOf(team.ID), 3},
			{"of a user and its team", b.newKey(t, "2", of(user.ID, team.ID)), team.ID, admission.PartitionOf(team.ID), 3},
			{"of a user without a team", b.newKey(t, "3", of(loner.ID, "")), "", admission.PartitionOf(loner.ID), 2},
			{"of a team", b.newKey(t, "4", of("", other.ID)), other.ID, admission.PartitionOf(other.ID), 2},
		} {
			loc := b.located(t, tt.key.Name)
			if tt.key.Team != tt.team || loc.Partition != tt.partition || len(loc.Owners()) != tt.owners {
				t.Errorf("%s: team %q in %d with %d owners; want %q, %d, %d",
					tt.name, tt.key.Team, loc.Partition, len(loc.Owners()), tt.team, tt.partition, tt.owners)
			}
			if h := b.owner(t, tt.partition, tt.key.ID); h["ver"] != "1" {
				t.Errorf("%s: record %v", tt.name, h)
			}
		}
		key := must(b.Keys().Get(t.Context(), b.located(t, "1").Key.ID))(t)
		for _, set := range []func(*admission.Key){of("", team.ID), of(user.ID, ""), of(loner.ID, team.ID)} {
			moved := key
			set(&moved)
			_, err := b.Keys().Update(t.Context(), by, moved)
			wantFault(t, err, fault.Invalid, "cannot change; make a new key")
		}
	})
}

func TestKeyRefused(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		team, other := b.newTeam(t, "team"), b.newTeam(t, "other")
		user := b.newUser(t, "user", team.ID)
		there := b.newKey(t, "there", nil)
		logged := len(b.log.entries)
		for _, tt := range []struct {
			name  string
			set   func(*admission.Key)
			code  fault.Code
			want  string
			field string
		}{
			{"unknown user", func(k *admission.Key) { k.User = "user_0" }, fault.Invalid, `no user "user_0"`, "user"},
			{"unknown team", func(k *admission.Key) { k.Team = "team_0" }, fault.Invalid, `no team "team_0"`, "team"},
			{"another team than its user's", func(k *admission.Key) { k.User, k.Team = user.ID, other.ID }, fault.Invalid, "user's team", "team"},
			{"a taken digest", func(k *admission.Key) { k.Digest = there.Digest }, fault.Conflict, "same secret", ""},
			{"a taken id", func(k *admission.Key) { k.ID = there.ID }, fault.Conflict, "already", ""},
			{"no digest", func(k *admission.Key) { k.Digest = "" }, fault.Invalid, "64 lower-case hex digits", "digest"},
			{"no hex digest", func(k *admission.Key) { k.Digest = "X" + k.Digest[1:] }, fault.Invalid, "64 lower-case hex digits", "digest"},
			{"no id", func(k *admission.Key) { k.ID = "" }, fault.Invalid, "1 to 100 characters", "id"},
			{"an id with a brace", func(k *admission.Key) { k.ID = "key_{1}" }, fault.Invalid, "letters, digits", "id"},
		} {
			k := admission.Key{Digest: digest(tt.name)}
			k.ID = "key_" + strconv.Itoa(len(tt.name))
			tt.set(&k)
			_, err := b.Keys().Create(t.Context(), by, k)
			wantFault(t, err, tt.code, tt.want)
			if f := fault.From(err); f.Field != tt.field {
				t.Errorf("%s: field %q, want %q", tt.name, f.Field, tt.field)
			}
		}
		if len(b.log.entries) != logged {
			t.Errorf("%d refused writes were logged", len(b.log.entries)-logged)
		}
		if diff := cmp.Diff(there, b.located(t, "there").Key); diff != "" {
			t.Errorf("the key that was there (-want +got):\n%s", diff)
		}
	})
}

// A deletion that ended after any of its steps is completed by repeating it.
func TestKeyDeletionInterrupted(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		user := b.newUser(t, "user", "")
		for _, steps := range []int{1, 2} {
			key := b.newKey(t, "one", func(k *admission.Key) { k.User = user.ID })
			remove := []string{store.Locator(key.Digest), store.Owner(admission.PartitionOf(user.ID), key.ID)}
			for _, name := range remove[:steps] {
				if err := b.client.Redis().Del(t.Context(), name).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Keys().Delete(t.Context(), by, key.ID, 0); err != nil {
				t.Errorf("after %d steps: %v", steps, err)
			}
			if page, _, err := b.Keys().List(t.Context(), "", 0); len(page) != 0 || err != nil {
				t.Errorf("after %d steps: listed %v, %v", steps, page, err)
			}
		}
		if err := b.Users().Delete(t.Context(), by, user.ID, 0); err != nil {
			t.Errorf("the user still has keys: %v", err)
		}
	})
}

// Another process changes the record between the check and the steps: the write
// fails, and the log says what stands.
func TestKeyChangedByAnotherProcess(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		other := newBench(t, b.client) // its own log and lock
		key := b.newKey(t, "one", nil)
		interfere := func(do func() error) {
			b.log.before = func(archive.Entry) error { b.log.before = nil; return do() }
		}
		stands := func(name string, version int64) {
			t.Helper()
			logged := b.log.last(t)
			if logged.Action != archive.Put || logged.Version != version {
				t.Errorf("%s: the log ends with %+v, want what stands: version %d", name, logged, version)
			}
			if loc := b.located(t, "one"); loc == nil || loc.Key.Version != version {
				t.Errorf("%s: the secret finds %+v", name, loc)
			}
		}

		interfere(func() error { _, err := other.Keys().Update(ctx, by, key); return err })
		_, err := b.Keys().Update(ctx, by, key)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		stands("update", 2)

		key.Version = 2
		interfere(func() error { _, err := other.Keys().Update(ctx, by, key); return err })
		wantFault(t, b.Keys().Delete(ctx, by, key.ID, 2), fault.Conflict, "was changed since it was read")
		stands("delete", 3)

		user := b.newUser(t, "user", "")
		late := admission.Key{Digest: digest("late"), User: user.ID}
		late.ID = "key_late"
		interfere(func() error { return other.Users().Delete(ctx, by, user.ID, 0) })
		_, err = b.Keys().Create(ctx, by, late)
		wantFault(t, err, fault.Conflict, user.ID)
		if logged := b.log.last(t); logged.Action != archive.Delete || logged.ID != late.ID {
			t.Errorf("create: the log ends with %+v, want that there is no key", logged)
		}
		if loc := b.located(t, "late"); loc != nil || len(b.owner(t, admission.PartitionOf(user.ID), late.ID)) > 0 {
			t.Errorf("create: left behind %+v", loc)
		}

		twin := admission.Key{Digest: digest("twin")}
		twin.ID = "key_twin"
		interfere(func() error { _, err := other.Keys().Create(ctx, by, twin); return err })
		_, err = b.Keys().Create(ctx, by, twin)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		if b.located(t, "twin") == nil || must(b.Keys().Get(ctx, twin.ID))(t).Version != 1 {
			t.Error("create: the other's key was taken away")
		}
	})
}
