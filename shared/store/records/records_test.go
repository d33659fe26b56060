package records_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/store"
	"sluice/shared/store/records"
	"sluice/shared/store/storetest"
	"sluice/shared/vault"
)

const by = "admin"

// memory is a config log in memory. before, when set, runs ahead of each append.
type memory struct {
	mu      sync.Mutex
	entries []archive.Entry
	before  func(archive.Entry) error
}

func (m *memory) Append(_ context.Context, e archive.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		if err := m.before(e); err != nil {
			return err
		}
	}
	e.Seq = int64(len(m.entries) + 1)
	m.entries = append(m.entries, e)
	return nil
}

func (m *memory) last(t testing.TB) archive.Entry {
	t.Helper()
	if len(m.entries) == 0 {
		t.Fatal("nothing was logged")
	}
	return m.entries[len(m.entries)-1]
}

// twice runs every command twice, as go-redis does when a reply is lost.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := next(ctx, cmds); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// bench is a store under test with all that it needs.
type bench struct {
	*records.Store
	client *store.Client
	log    *memory
	vault  *vault.Vault
	mu     sync.Mutex
	clock  time.Time
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(time.Second)
	return b.clock
}

func newBench(t testing.TB, client *store.Client) *bench {
	t.Helper()
	master, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		client: client, log: &memory{}, vault: vault.New(vault.Options{Wrapper: master}),
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	b.Store = records.New(records.Options{Client: client, Vault: b.vault, Log: b.log, Now: b.now})
	return b
}

// once runs a test over every kind of server.
func once(t *testing.T, f func(t *testing.T, b *bench)) {
	storetest.Each(t, func(t *testing.T, client *store.Client) { f(t, newBench(t, client)) })
}

// each runs a test over every kind of server, its commands once and twice.
func each(t *testing.T, f func(t *testing.T, b *bench)) {
	once(t, f)
	t.Run("every command twice", func(t *testing.T) {
		storetest.Each(t, func(t *testing.T, client *store.Client) {
			client.Redis().AddHook(twice{})
			f(t, newBench(t, client))
		})
	})
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantFault(t testing.TB, err error, code fault.Code, text string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %s: …%s…", err, code, text)
	}
}

func (b *bench) newKey(t testing.TB, name string, set func(*admission.Key)) admission.Key {
	t.Helper()
	k := admission.Key{Digest: digest(name), Hint: "test"}
	k.ID, k.Name, k.Status = llm.NewID("key_", b.now()), name, admission.Active
	if set != nil {
		set(&k)
	}
	return must(b.Keys().Create(t.Context(), by, k))(t)
}

func (b *bench) newUser(t testing.TB, name, team string) admission.User {
	t.Helper()
	u := admission.User{Team: team}
	u.ID, u.Name, u.Status = llm.NewID("user_", b.now()), name, admission.Active
	return must(b.Users().Create(t.Context(), by, u))(t)
}

func (b *bench) newTeam(t testing.TB, name string) admission.Team {
	t.Helper()
	var m admission.Team
	m.ID, m.Name, m.Status = llm.NewID("team_", b.now()), name, admission.Active
	return must(b.Teams().Create(t.Context(), by, m))(t)
}

// located is what a secret finds, nil for nothing.
func (b *bench) located(t testing.TB, secret string) *admission.Locator {
	t.Helper()
	text, err := b.client.Redis().Get(t.Context(), store.Locator(digest(secret))).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	var loc admission.Locator
	if err := errors.Join(err, json.Unmarshal([]byte(text), &loc)); err != nil {
		t.Fatal(err)
	}
	return &loc
}

// owner is what the record's HASH holds.
func (b *bench) owner(t testing.TB, partition int, id string) map[string]string {
	t.Helper()
	return must(b.client.Redis().HGetAll(t.Context(), store.Owner(partition, id)).Result())(t)
}

func TestLogComesFirst(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := b.newKey(t, "one", nil)
		logged := b.log.last(t)
		want := archive.Entry{
			Seq: 1, At: key.CreatedAt, Actor: by, Action: archive.Put, Kind: archive.Key, ID: key.ID, Version: 1,
		}
		sealed := logged.Sealed
		logged.Sealed = nil
		if diff := cmp.Diff(want, logged, cmp.Comparer(func(x, y time.Time) bool { return y.Sub(x).Abs() < time.Minute })); diff != "" {
			t.Errorf("logged (-want +got):\n%s", diff)
		}
		var image admission.Key
		if err := json.Unmarshal(must(b.vault.Open(t.Context(), sealed, logged.Context()))(t), &image); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(key, image); diff != "" {
			t.Errorf("logged image (-want +got):\n%s", diff)
		}

		b.log.before = func(archive.Entry) error { return fault.New(fault.StoreDown, "the disk is full") }
		key.Name = "changed"
		_, err := b.Keys().Update(t.Context(), by, key)
		wantFault(t, err, fault.StoreDown, "the disk is full")
		wantFault(t, b.Keys().Delete(t.Context(), by, key.ID, 0), fault.StoreDown, "the disk is full")
		if got := must(b.Keys().Get(t.Context(), key.ID))(t); got.Name != "one" {
			t.Errorf("the key was changed without a log entry: %+v", got)
		}
		if b.located(t, "one") == nil {
			t.Error("the secret was removed without a log entry")
		}
	})
}

func TestOneWriterAtATime(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := b.newKey(t, "one", nil)
		const writers = 8
		var won, lost int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				_, err := b.Keys().Update(t.Context(), by, key)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case fault.CodeOf(err) == fault.Conflict:
					lost++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won != 1 || lost != writers-1 || len(b.log.entries) != 2 {
			t.Errorf("%d won, %d lost, %d entries logged; want 1, %d, 2", won, lost, len(b.log.entries), writers-1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.log.before = func(archive.Entry) error {
			_, err := b.Keys().Update(ctx, by, key)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a second writer = %v, want it to wait until its context ends", err)
			}
			return nil
		}
		key.Version = 2
		must(b.Keys().Update(t.Context(), by, key))(t)
	})
}

func TestPages(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		if page, next, err := b.Keys().List(t.Context(), "", 10); len(page) != 0 || next != "" || err != nil {
			t.Errorf("List of nothing = %v, %q, %v", page, next, err)
		}
		var want []string
		for i := range 7 {
			key := b.newKey(t, "key"+string(rune('0'+i)), nil)
			want = append([]string{key.ID}, want...)
		}
		for _, limit := range []int{0, 1, 3, 7, 100, 100_000} {
			var got []string
			for cursor, first := "", true; first || cursor != ""; first = false {
				page, next, err := b.Keys().List(t.Context(), cursor, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range page {
					got = append(got, k.ID)
				}
				cursor = next
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
			}
		}
		_, _, err := b.Keys().List(t.Context(), "(key", 1)
		wantFault(t, err, fault.Invalid, "is no cursor")
		_, _, err = b.Accounts().List(t.Context(), "key 1", 1)
		wantFault(t, err, fault.Invalid, "is no cursor")
		b.newTeam(t, "t")
		b.newUser(t, "u", "")
		b.newAccount(t, "a")
		keys, users, teams, accounts, err := b.Counts(t.Context())
		if got := [4]int64{keys, users, teams, accounts}; got != [4]int64{7, 1, 1, 1} || err != nil {
			t.Errorf("Counts = %v, %v", got, err)
		}
	})
}
