package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"sluice/shared/admin"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
)

const headerTimeout = 10 * time.Second

// reader is what holders of a key may read of the ledger.
type reader struct {
	*ledger.Ledger
	*records.Usage
}

// census counts records for the admin API.
type census struct{ *records.Store }

func (c census) Counts(ctx context.Context) (admin.Counts, error) {
	keys, users, teams, accounts, err := c.Store.Counts(ctx)
	return admin.Counts{Keys: keys, Users: users, Teams: teams, Accounts: accounts}, err
}

// tester tests accounts through the relay.
type tester struct{ *Node }

// testModels are asked for in turn until the account serves one of them.
var testModels = []string{"claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"}

func (t tester) Test(ctx context.Context, id string) (admin.TestResult, error) {
	a, err := t.records.Accounts().Get(ctx, id)
	if err != nil {
		return admin.TestResult{}, err
	}
	trial := t.relay.Try(ctx, a, testModels)
	result := admin.TestResult{OK: trial.Err == nil, Status: trial.Status, Latency: trial.Latency}
	if trial.Err != nil {
		result.Message = fault.From(trial.Err).Message
	}
	return result, nil
}

func (n *Node) admin(loopback bool) http.Handler {
	return admin.New(admin.Deps{
		Token: n.o.AdminToken, TokenSum: n.o.AdminSum,
		Keys: n.records.Keys(), Users: n.records.Users(), Teams: n.records.Teams(), Accounts: n.records.Accounts(),
		Census: census{n.records}, Credentials: n.sealer, Usage: n.records.Usage(), Ledger: n.ledger, Health: n.accounts,
		Tester:   tester{n},
		Vendors:  []admin.Vendor{{Name: "anthropic"}, {Name: "compatible", NeedsURL: true}},
		Dialects: []llm.Protocol{llm.Anthropic},
		Loopback: loopback,
		Logger:   n.o.Logger,
	})
}

// serveMetrics serves figures and profiles of the process on a listener of its
// own; the func it returns stops that.
func (n *Node) serveMetrics() (stop func(), err error) {
	if n.o.Settings.MetricsListen == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", n.o.Settings.MetricsListen)
	if err != nil {
		return nil, errors.Join(errors.New("SLUICE_METRICS_LISTEN: choose another address, or off"), err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", n.relay.Metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.o.Logger.Error("metrics stopped", "error", err)
		}
	})
	return func() {
		if err := srv.Close(); err != nil {
			n.o.Logger.Warn("metrics", "error", err)
		}
		serving.Wait()
	}, nil
}
