package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admin"
	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/credential"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
	"sluice/shared/vault"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const token = "test-token"

// census counts as the mains have it.
type census struct{ *records.Store }

func (c census) Counts(ctx context.Context) (admin.Counts, error) {
	keys, users, teams, accounts, err := c.Store.Counts(ctx)
	return admin.Counts{Keys: keys, Users: users, Teams: teams, Accounts: accounts}, err
}

// history is a config log in memory.
type history struct {
	mu      sync.Mutex
	entries []archive.Entry
}

func (h *history) Append(_ context.Context, e archive.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, e)
	return nil
}

// vendor answers tests of accounts.
type vendor struct{ result admin.TestResult }

func (v vendor) Test(context.Context, string) (admin.TestResult, error) { return v.result, nil }

// bench is the API over a store, and what stands around it.
type bench struct {
	deps    admin.Deps
	handler http.Handler
	client  *store.Client
	records *records.Store
	health  *accounts.Store
	sealed  *credential.Source
	history *history
	log     *bytes.Buffer

	clock time.Time // advanced by a minute with every request
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newBench(t testing.TB, client *store.Client) *bench {
	t.Helper()
	master, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	sealing := vault.New(vault.Options{Wrapper: master})
	b := &bench{client: client, health: accounts.New(client), sealed: credential.New(sealing), history: &history{}, log: &bytes.Buffer{}, clock: start}
	now := func() time.Time { return b.clock }
	b.records = records.New(records.Options{Client: client, Vault: sealing, Log: b.history, Now: now})
	b.deps = admin.Deps{
		Token: secret.New(token), Keys: b.records.Keys(), Users: b.records.Users(), Teams: b.records.Teams(), Accounts: b.records.Accounts(),
		Census: census{b.records}, Credentials: b.sealed, Usage: b.records.Usage(), Ledger: ledger.New(client), Health: b.health,
		Tester:  vendor{admin.TestResult{Status: 401, Latency: 1500 * time.Millisecond, Message: "the key is not valid"}},
		Vendors: []admin.Vendor{{Name: "anthropic"}, {Name: "compatible", NeedsURL: true}}, Dialects: []llm.Protocol{llm.Anthropic},
		Now: now, Logger: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	b.handler = admin.New(b.deps)
	return b
}

// each runs a test over every kind of server.
func each(t *testing.T, f func(t *testing.T, b *bench)) {
	storetest.Each(t, func(t *testing.T, client *store.Client) { f(t, newBench(t, client)) })
}

// single is a bench over the one kind of server that starts at once.
func single(t testing.TB) *bench { return newBench(t, storetest.Single(t).Client(t)) }

// request makes a request of the administrator. edit may change it.
func (b *bench) request(method, path, body string, edit func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if edit != nil {
		edit(r)
	}
	return r
}

func (b *bench) serve(r *http.Request) *httptest.ResponseRecorder {
	b.clock = b.clock.Add(time.Minute)
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// do makes a request whose answer must have the status, and is read into a map.
func (b *bench) do(t testing.TB, method, path, body string, status int) map[string]any {
	t.Helper()
	w := b.serve(b.request(method, path, body, nil))
	if w.Code != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	answer := map[string]any{}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return answer
}

// id is the id of a new record.
func (b *bench) id(t testing.TB, path, body string) string {
	t.Helper()
	id, _ := b.do(t, http.MethodPost, path, body, http.StatusCreated)["id"].(string)
	return id
}

func count(n int64) *int64 { return &n }

// settle writes n records of calls as the ledger does, the oldest an hour before
// start and each twenty minutes after the other, and sets the clock after them.
func (b *bench) settle(t testing.TB, n int) {
	t.Helper()
	b.clock = start.Add(-time.Hour + time.Duration(n)*20*time.Minute)
	for i := range n {
		at := start.Add(-time.Hour + time.Duration(i)*20*time.Minute)
		team := []string{"team_1", "team_2"}[i%2]
		row, err := json.Marshal(usage.Record{
			Call: fmt.Sprintf("call_%d", i), At: at.Add(-time.Second), Key: []string{"key_1", "key_2"}[i%2], User: "user_1", Team: team,
			Tags: map[string]string{"project": []string{"a", "b", "b"}[i%3]}, Dialect: llm.Anthropic, Model: []string{"large", "small", "small"}[i%3],
			Provider: "anthropic", Account: "acct_1", Attempts: 1, Stream: true, Outcome: usage.Complete, Estimated: i%4 == 3,
			Usage: llm.Usage{Input: count(10), Output: count(int64(i)), CacheRead: count(100), Reasoning: count(1)},
			Cost:  money.Nanos(i) * money.Dollar / 8, Held: money.Dollar, Duration: 1000, FirstByte: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
		err = b.client.Redis().XAdd(t.Context(), &redis.XAddArgs{
			Stream: store.Usage(admission.PartitionOf(team)), ID: fmt.Sprintf("%d-1", at.UnixMilli()), Values: []any{"r", row},
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
}
