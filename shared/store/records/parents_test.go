package records_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

func TestUserLife(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		user := b.newUser(t, "user", "")
		if diff := cmp.Diff(user, must(b.Users().Get(ctx, user.ID))(t)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		user.Email = "user@example.com"
		changed := must(b.Users().Update(ctx, by, user))(t)
		if changed.Version != 2 || b.owner(t, admission.PartitionOf(user.ID), user.ID)["ver"] != "2" {
			t.Errorf("updated %+v", changed)
		}
		_, err := b.Users().Update(ctx, by, user)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		if page, next, err := b.Users().List(ctx, "", 0); len(page) != 1 || next != "" || err != nil {
			t.Errorf("List = %v, %q, %v", page, next, err)
		}
		wantFault(t, b.Users().Delete(ctx, by, user.ID, 1), fault.Conflict, "was changed since it was read")
		if err := b.Users().Delete(ctx, by, user.ID, 2); err != nil {
			t.Fatal(err)
		}
		wantFault(t, b.Users().Delete(ctx, by, user.ID, 0), fault.NotFound, user.ID)
		_, err = b.Users().Update(ctx, by, changed)
		wantFault(t, err, fault.NotFound, user.ID)
		lost := admission.User{Team: "team_0"}
		lost.ID = "user_1"
		_, err = b.Users().Create(ctx, by, lost)
		wantFault(t, err, fault.Invalid, `no team "team_0"`)
	})
}

func TestTeamLife(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		team := b.newTeam(t, "team")
		team.Limits.Concurrency = 7
		changed := must(b.Teams().Update(ctx, by, team))(t)
		if diff := cmp.Diff(changed, must(b.Teams().Get(ctx, team.ID))(t)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		_, err := b.Teams().Update(ctx, by, team)
		wantFault(t, err, fault.Conflict, "was changed since it was read")
		_, err = b.Teams().Create(ctx, by, team)
		wantFault(t, err, fault.Conflict, "already")
		if page, _, err := b.Teams().List(ctx, "", 0); len(page) != 1 || err != nil {
			t.Errorf("List = %v, %v", page, err)
		}

		user := b.newUser(t, "user", team.ID)
		keys := []admission.Key{
			b.newKey(t, "1", func(k *admission.Key) { k.User = user.ID }),
			b.newKey(t, "2", func(k *admission.Key) { k.Team = team.ID }),
		}
		wantFault(t, b.Teams().Delete(ctx, by, team.ID, 0), fault.Conflict, "the team has 2 keys and 1 user and cannot be deleted")
		wantFault(t, b.Users().Delete(ctx, by, user.ID, 0), fault.Conflict, "the user has 1 key and cannot be deleted")
		for _, key := range keys {
			if err := b.Keys().Delete(ctx, by, key.ID, 0); err != nil {
				t.Fatal(err)
			}
		}
		wantFault(t, b.Teams().Delete(ctx, by, team.ID, 0), fault.Conflict, "the team has 1 user and cannot be deleted")
		if err := b.Users().Delete(ctx, by, user.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := b.Teams().Delete(ctx, by, team.ID, 0); err != nil {
			t.Fatal(err)
		}
		keyCount, users, teams, _, err := b.Counts(ctx)
		if keyCount != 0 || users != 0 || teams != 0 || err != nil {
			t.Errorf("left: %d keys, %d users, %d teams, %v", keyCount, users, teams, err)
		}
	})
}

func TestUserChangesTeam(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		from, to := b.newTeam(t, "from"), b.newTeam(t, "to")
		for admission.PartitionOf(from.ID) == admission.PartitionOf(to.ID) {
			to = b.newTeam(t, "to")
		}
		user := b.newUser(t, "user", from.ID)
		key := b.newKey(t, "one", func(k *admission.Key) { k.User = user.ID })
		user.Team = to.ID
		logged := len(b.log.entries)
		_, err := b.Users().Update(ctx, by, user)
		wantFault(t, err, fault.Conflict, "the user has 1 key and cannot be moved to another team")
		user.Team = "team_0"
		_, err = b.Users().Update(ctx, by, user)
		wantFault(t, err, fault.Invalid, `no team "team_0"`)
		if len(b.log.entries) != logged {
			t.Error("a refused move was logged")
		}
		if err := b.Keys().Delete(ctx, by, key.ID, 0); err != nil {
			t.Fatal(err)
		}

		user.Team = to.ID
		user = must(b.Users().Update(ctx, by, user))(t)
		if diff := cmp.Diff(user, must(b.Users().Get(ctx, user.ID))(t)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		if left := b.owner(t, admission.PartitionOf(from.ID), user.ID); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := b.Teams().Delete(ctx, by, from.ID, 0); err != nil {
			t.Errorf("the former team: %v", err)
		}
		wantFault(t, b.Teams().Delete(ctx, by, to.ID, 0), fault.Conflict, "1 user")
		if key := b.newKey(t, "two", func(k *admission.Key) { k.User = user.ID }); key.Team != to.ID {
			t.Errorf("a new key is of team %q", key.Team)
		}
	})
}

// A move or deletion that was interrupted leaves the owner closed to new keys
// until it is updated or deleted.
func TestOwnerLeftClosed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		user, team := b.newUser(t, "user", ""), b.newTeam(t, "team")
		closeOwner := func(kind, id string) {
			t.Helper()
			places := store.Index(kind + ":p")
			at := must(b.client.Redis().HGet(ctx, places, id).Result())(t)
			if err := b.client.Redis().HSet(ctx, places, id, "!"+at).Err(); err != nil {
				t.Fatal(err)
			}
		}
		closeOwner("users", user.ID)
		late := admission.Key{Digest: digest("late"), User: user.ID}
		late.ID = "key_late"
		_, err := b.Keys().Create(ctx, by, late)
		wantFault(t, err, fault.Conflict, "is being changed or deleted; try again")
		user = must(b.Users().Update(ctx, by, user))(t)
		must(b.Keys().Create(ctx, by, late))(t)
		if err := b.Keys().Delete(ctx, by, late.ID, 0); err != nil {
			t.Fatal(err)
		}

		closeOwner("users", user.ID)
		user.Team = team.ID
		user = must(b.Users().Update(ctx, by, user))(t)
		if err := b.Users().Delete(ctx, by, user.ID, 0); err != nil {
			t.Error(err)
		}
		closeOwner("teams", team.ID)
		if err := b.client.Redis().Del(ctx, store.Owner(admission.PartitionOf(team.ID), team.ID)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := b.Teams().Delete(ctx, by, team.ID, 0); err != nil {
			t.Errorf("the end of an interrupted deletion: %v", err)
		}
		if page, _, err := b.Teams().List(ctx, "", 0); len(page) != 0 || err != nil {
			t.Errorf("List = %v, %v", page, err)
		}
	})
}

// Another process gives the user a key between the check and the steps.
func TestOwnerUsedByAnotherProcess(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		other := newBench(t, b.client)
		user, team := b.newUser(t, "user", ""), b.newTeam(t, "team")
		writes := map[string]func() error{
			"delete": func() error { return b.Users().Delete(ctx, by, user.ID, 0) },
			"move": func() error {
				moved := user
				moved.Team = team.ID
				_, err := b.Users().Update(ctx, by, moved)
				return err
			},
		}
		for name, write := range writes {
			var key admission.Key
			b.log.before = func(archive.Entry) error {
				b.log.before = nil
				key = other.newKey(t, name, func(k *admission.Key) { k.User = user.ID })
				return nil
			}
			wantFault(t, write(), fault.Conflict, "the user has 1 key")
			if diff := cmp.Diff(user, must(b.Users().Get(ctx, user.ID))(t)); diff != "" {
				t.Errorf("%s: the user (-want +got):\n%s", name, diff)
			}
			if logged := b.log.last(t); logged.Action != archive.Put || logged.Version != user.Version {
				t.Errorf("%s: the log ends with %+v", name, logged)
			}
			if err := b.Keys().Delete(ctx, by, key.ID, 0); err != nil {
				t.Fatal(err)
			}
		}
		b.log.before = func(archive.Entry) error {
			b.log.before = nil
			_, err := other.Users().Update(ctx, by, user)
			return err
		}
		wantFault(t, b.Users().Delete(ctx, by, user.ID, 0), fault.Conflict, "was changed since it was read")
		b.newKey(t, "again", func(k *admission.Key) { k.User = user.ID }) // it was opened again
	})
}
