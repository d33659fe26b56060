package relay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

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
	front "sluice/shared/protocol/anthropic"
	"sluice/shared/provider"
	"sluice/shared/provider/all"
	"sluice/shared/secret"
	"sluice/shared/simulator"
	"sluice/shared/store/accounts"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
	"sluice/shared/vault"
	"sluice/streamer/relay"
)

const (
	sdkKey      = "test-key-budgeted"   // counts money
	sdkFreeKey  = "test-key-unbudgeted" // takes models without a price
	sdkOnceKey  = "test-key-once"       // may call once a minute
	sdkPoorKey  = "test-key-poor"       // has no money to speak of
	sdkPatience = 20 * time.Second      // until something shows that must
	sdkPoll     = 5 * time.Millisecond
)

// sdkWired is a relay over real stores, with one account at an upstream.
type sdkWired struct {
	handler  http.Handler
	ledger   *ledger.Ledger
	usage    *records.Usage
	accounts *accounts.Store
	owners   map[string]*admission.Owner // by secret
}

// sdkReader joins what the relay reads of the ledger.
type sdkReader struct {
	*ledger.Ledger
	*records.Usage
}

// sdkWire wires the relay as the product does, with an embedded store.
func sdkWire(t testing.TB, upstream string) *sdkWired {
	t.Helper()
	client := storetest.Embedded(t)
	dir := t.TempDir()
	master, err := vault.OpenLocal(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	sealing := vault.New(vault.Options{Wrapper: master})
	changes, err := archive.OpenFile(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	ways := egress.New(egress.Options{})
	t.Cleanup(func() {
		ways.CloseIdle()
		if err := changes.Close(); err != nil {
			t.Error(err)
		}
	})
	store := records.New(records.Options{Client: client, Vault: sealing, Log: changes})
	w := &sdkWired{ledger: ledger.New(client), usage: store.Usage(), accounts: accounts.New(client), owners: make(map[string]*admission.Owner)}
	sealer := credential.New(sealing)
	sweeper := ledger.NewSweeper(w.ledger, w.accounts, nil)
	w.seed(t, store, sealer, upstream)
	rl := relay.New(relay.Options{
		Fronts: []protocol.Front{front.Front{}},
		Backs:  map[llm.Protocol]protocol.Back{llm.Anthropic: front.Back{}},
		Gate:   admission.New(admission.Options{Store: w.ledger, Sweep: sweeper.Partition}),
		Router: pool.New(pool.Options{Store: w.accounts, Providers: all.Providers(), Family: prices.Family, Attempts: 3}),
		Closer: w.ledger, Ledger: sdkReader{w.ledger, w.usage}, Credentials: sealer, Clients: ways,
		Prices: prices, Ready: new(host.Readiness),
	})
	w.handler = rl.Handler()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { rl.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return w
}

// seed makes the account and the keys.
func (w *sdkWired) seed(t testing.TB, store *records.Store, sealer *credential.Source, upstream string) {
	t.Helper()
	account := pool.Account{
		ID: llm.NewID("acct_", time.Now()), Name: "simulator", Provider: "compatible", BaseURL: upstream,
		PrivateNetwork: true, Auth: provider.APIKey, Weight: 100,
	}
	vendorKey := secret.New("test-vendor-key")
	var err error
	if account.Sealed, err = sealer.Seal(t.Context(), account, &vendorKey, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Accounts().Create(t.Context(), "test", account); err != nil {
		t.Fatal(err)
	}
	for text, limits := range map[string]admission.Limits{
		sdkKey:     {Concurrency: 10, Budgets: []admission.Budget{{Per: admission.Total, USD: 100 * money.Dollar}}},
		sdkFreeKey: {},
		sdkOnceKey: {Windows: []admission.Window{{Minutes: 1, Requests: 1}}},
		sdkPoorKey: {Budgets: []admission.Budget{{Per: admission.Day, USD: 1}}},
	} {
		key, err := store.Keys().Create(t.Context(), "test", admission.Key{
			Owner:  admission.Owner{ID: llm.NewID("key_", time.Now()), Name: text, Status: admission.Active, Limits: limits},
			Digest: admission.Digest(secret.New(text)), Hint: text[len(text)-4:],
		})
		if err != nil {
			t.Fatal(err)
		}
		w.owners[text] = &key.Owner
	}
}

// records are the rows of all calls, once there are so many and none is open.
func (w *sdkWired) records(t testing.TB, want int) []usage.Record {
	t.Helper()
	for deadline := time.Now().Add(sdkPatience); ; {
		page, err := w.usage.Records(t.Context(), usage.Query{})
		if err != nil {
			t.Fatal(err)
		}
		open, held, err := w.ledger.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) >= want && open == 0 {
			if held != 0 || len(page.Records) != want {
				t.Fatalf("%d records, %s held; want %d records and nothing", len(page.Records), held, want)
			}
			w.nothingHeld(t)
			return page.Records
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records, want %d; %d calls open, %s held", len(page.Records), want, open, held)
		}
		sdkWait(t)
	}
}

// nothingHeld holds every key to be without a hold and every account without a lease.
func (w *sdkWired) nothingHeld(t testing.TB) {
	t.Helper()
	for text, o := range w.owners {
		b, err := w.ledger.Balance(t.Context(), admission.PartitionOf(o.ID), o)
		if err != nil {
			t.Fatal(err)
		}
		if b.Held != 0 || b.Open != 0 {
			t.Errorf("%s holds %s in %d calls", text, b.Held, b.Open)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); w.leases(t) > 0; sdkWait(t) { // released right after it is settled
		if time.Now().After(deadline) {
			t.Fatalf("%d leases are left", w.leases(t))
		}
	}
}

// leases is the number of calls on all accounts.
func (w *sdkWired) leases(t testing.TB) (n int) {
	t.Helper()
	states, err := w.accounts.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		n += s.Leases
	}
	return n
}

// sdkWait waits a moment between two looks at something.
func sdkWait(t testing.TB) {
	t.Helper()
	timer := time.NewTimer(sdkPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// sdkRig is a relay, its upstream and the address where it is served.
type sdkRig struct {
	*sdkWired
	vendor *simulator.Simulator
	url    string
}

func newSDKRig(t testing.TB) *sdkRig {
	t.Helper()
	vendor := simulator.New(simulator.Options{})
	upstream := httptest.NewServer(vendor)
	t.Cleanup(upstream.Close)
	w := sdkWire(t, upstream.URL)
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	return &sdkRig{sdkWired: w, vendor: vendor, url: server.URL}
}

// client is the vendor's SDK with a key of the relay.
func (r *sdkRig) client(key string) anthropic.Client {
	return anthropic.NewClient(option.WithoutEnvironmentDefaults(), option.WithBaseURL(r.url), option.WithAPIKey(key), option.WithMaxRetries(0))
}

// balanced holds the records of the relay against the bill of the vendor: one row
// a charge, the same figures, and nothing held.
func (r *sdkRig) balanced(t testing.TB, charges int) []usage.Record {
	t.Helper()
	rows, bill := r.records(t, charges), r.vendor.Bill()
	if len(bill) != charges {
		t.Fatalf("the vendor bills %d calls, want %d", len(bill), charges)
	}
	for _, c := range bill {
		sdkMatch(t, rows, c)
	}
	var cost money.Nanos
	for i := range rows {
		cost += rows[i].Cost
	}
	spent := money.Nanos(0)
	for _, o := range r.owners {
		b, err := r.ledger.Balance(t.Context(), admission.PartitionOf(o.ID), o)
		if err != nil {
			t.Fatal(err)
		}
		spent += b.Total
	}
	if cost != spent {
		t.Errorf("the records cost %s, the owners spent %s", cost, spent)
	}
	return rows
}
