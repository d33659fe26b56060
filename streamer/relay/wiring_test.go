package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/credential"
	"sluice/shared/egress"
	"sluice/shared/host"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/pricing"
	"sluice/shared/protocol"
	"sluice/shared/protocol/anthropic"
	"sluice/shared/provider"
	"sluice/shared/provider/all"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
	"sluice/shared/vault"
	"sluice/streamer/relay"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const (
	clientKey = "test-key"
	patience  = 10 * time.Second
	// maxHeaders is what shared/host allows.
	maxHeaders = 64 << 10
)

// nothing is a config log that keeps nothing.
type nothing struct{}

func (nothing) Append(context.Context, archive.Entry) error { return nil }

// reader is what holders of a key may read of the ledger.
type reader struct {
	*ledger.Ledger
	*records.Usage
}

// setup says how a bench differs from the usual one.
type setup struct {
	client *store.Client // nil: a single node of this test
	limits relay.Limits
	budget money.Nanos     // of the key, a day; 0 = none
	bases  []string        // of the accounts, preferred first; "" = the scripted upstream
	rules  pool.ModelRules // of every account
	trace  func(context.Context) relay.Trace
	wrap   func(http.Handler) http.Handler // around the relay's handler; nil = nothing
}

// bench is a relay with everything behind it real but the vendor.
type bench struct {
	client   *store.Client
	ledger   *ledger.Ledger
	records  *records.Store
	relay    *relay.Relay
	upstream *upstream
	front    *httptest.Server
	running  atomic.Int64 // handlers of the relay
	http     *http.Client
	key      admission.Key
	accounts []pool.Account
}

// open wires a bench. When the test ends it is taken down, and every goroutine
// that it started must be gone.
func open(t testing.TB, s setup, script ...http.HandlerFunc) *bench {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	if s.client == nil {
		s.client = storetest.Single(t).Client(t)
	}
	master, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	sealing := vault.New(vault.Options{Wrapper: master})
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		client: s.client, ledger: ledger.New(s.client), upstream: newUpstream(t, script),
		records: records.New(records.Options{Client: s.client, Vault: sealing, Log: nothing{}}),
	}
	b.seed(t, s, credential.New(sealing))
	ways := egress.New(egress.Options{})
	t.Cleanup(ways.CloseIdle)
	rl := relay.New(relay.Options{
		Fronts: []protocol.Front{anthropic.Front{}},
		Backs:  map[llm.Protocol]protocol.Back{llm.Anthropic: anthropic.Back{}},
		Gate:   admission.New(admission.Options{Store: b.ledger}),
		Router: pool.New(pool.Options{Store: accounts.New(s.client), Providers: all.Providers(), Family: prices.Family}),
		Closer: b.ledger, Ledger: reader{b.ledger, b.records.Usage()},
		Credentials: credential.New(sealing), Clients: ways, Prices: prices, Ready: new(host.Readiness), Limits: s.limits,
		Trace: s.trace,
	})
	b.relay = rl
	handler := rl.Handler()
	if s.wrap != nil {
		handler = s.wrap(handler)
	}
	b.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.running.Add(1)
		defer b.running.Add(-1)
		handler.ServeHTTP(w, r)
	}))
	b.front.Config.MaxHeaderBytes = maxHeaders
	b.front.Start()
	t.Cleanup(b.front.Close)
	transport := &http.Transport{DisableCompression: true}
	b.http = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return b
}

func (b *bench) seed(t testing.TB, s setup, sealer *credential.Source) {
	t.Helper()
	if len(s.bases) == 0 {
		s.bases = []string{""}
	}
	for i, base := range s.bases {
		if base == "" {
			base = b.upstream.URL
		}
		a := pool.Account{
			ID: llm.NewID("acct_", time.Now()), Name: fmt.Sprintf("account %d", i), Provider: "compatible", BaseURL: base,
			Auth: provider.APIKey, Priority: i, Weight: 100, PrivateNetwork: true, Models: s.rules,
		}
		credential := secret.New(fmt.Sprintf("test-account-%d", i))
		var err error
		if a.Sealed, err = sealer.Seal(t.Context(), a, &credential, nil); err != nil {
			t.Fatal(err)
		}
		if a, err = b.records.Accounts().Create(t.Context(), "test", a); err != nil {
			t.Fatal(err)
		}
		b.accounts = append(b.accounts, a)
	}
	b.key = b.newKey(t, clientKey, s.budget)
}

// newKey makes a key with a budget for each day; 0 = none.
func (b *bench) newKey(t testing.TB, text string, budget money.Nanos) admission.Key {
	t.Helper()
	key := admission.Key{
		Owner:  admission.Owner{ID: llm.NewID("key_", time.Now()), Name: text, Status: admission.Active},
		Digest: admission.Digest(secret.New(text)), Hint: "-key",
	}
	if budget > 0 {
		key.Limits.Budgets = []admission.Budget{{Per: admission.Day, USD: budget}}
	}
	key, err := b.records.Keys().Create(t.Context(), "test", key)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is a call of the relay; change may be nil.
func (b *bench) request(ctx context.Context, t testing.TB, body []byte, change func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.front.URL+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", clientKey)
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	return r
}

// call makes a call and reads its answer to the end, however it ends.
func (b *bench) call(t testing.TB, body []byte, change func(*http.Request)) (status int, h http.Header, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := b.http.Do(b.request(ctx, t, body, change))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("reading the answer: %v", err)
	}
	return res.StatusCode, res.Header, answer
}

// idle waits until no call is open: the client has an answer before it is settled.
func (b *bench) idle(t testing.TB) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for b.running.Load() > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("a call does not end")
		}
	}
}

// settled waits for every call to return, fails if anything is held or leased
// still, and gives the records of the calls.
func (b *bench) settled(t testing.TB) []usage.Record {
	t.Helper()
	b.http.CloseIdleConnections()
	b.front.Close() // waits for the handlers
	ctx, redis := context.Background(), b.client.Redis()
	p := admission.PartitionOf(b.key.BudgetOwner())
	balance, err := b.ledger.Balance(ctx, p, &b.key.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if balance.Held != 0 || balance.Open != 0 {
		t.Errorf("held at the end: %+v", balance)
	}
	left := map[string]int64{
		store.Intents(p):   redis.HLen(ctx, store.Intents(p)).Val(),
		store.Due(p):       redis.ZCard(ctx, store.Due(p)).Val(),
		store.CallLeases(): redis.HLen(ctx, store.CallLeases()).Val(),
	}
	for _, a := range b.accounts {
		left[store.AccountLeases(a.ID)] = redis.ZCard(ctx, store.AccountLeases(a.ID)).Val()
	}
	for key, n := range left {
		if n != 0 {
			t.Errorf("%s has %d entries at the end", key, n)
		}
	}
	page, err := b.records.Usage().Records(ctx, usage.Query{Key: b.key.ID})
	if err != nil {
		t.Fatal(err)
	}
	var cost money.Nanos
	for _, r := range page.Records {
		cost += r.Cost
	}
	if balance.Total != cost {
		t.Errorf("the balance says %s, the records %s", balance.Total, cost)
	}
	return page.Records
}

// one is the record of the only call, which must have ended so.
func (b *bench) one(t testing.TB, outcome usage.Outcome) usage.Record {
	t.Helper()
	rows := b.settled(t)
	if len(rows) != 1 {
		t.Fatalf("%d records, want one: %+v", len(rows), rows)
	}
	if rows[0].Outcome != outcome {
		t.Errorf("outcome %s (%s), want %s", rows[0].Outcome, rows[0].Code, outcome)
	}
	return rows[0]
}
