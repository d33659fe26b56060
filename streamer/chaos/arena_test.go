package chaos

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/money"
	"sluice/shared/pricing"
	"sluice/shared/store/storetest"
)

const (
	processes = 4
	shards    = 3
	accounts  = 6
	model     = "claude-haiku-4-5"

	leaseTTL   = 35 * time.Second // of an open call
	sweepEvery = 5 * time.Second
)

// arena is all that a run takes place in.
type arena struct {
	t        *testing.T
	seed     uint64
	long     bool // outages as long as they are in life
	hasten   bool // let the time of dead calls pass at once
	redis    *storetest.Replicas
	direct   *redis.ClusterClient // past the proxies
	vendor   *vendor
	fleet    []*process
	accounts []string
	prices   *pricing.Table
	clients  *http.Client
}

// key is a key of one call.
type key struct {
	ID     string `json:"id"`
	Secret string `json:"key"`
	Team   string `json:"team"`
}

// open builds the arena.
func open(t *testing.T, seed uint64) *arena {
	t.Helper()
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for i := range processes {
		users = append(users, user(i))
	}
	a := &arena{
		t: t, seed: seed, prices: prices, vendor: newVendor(t, seed), redis: storetest.Replicated(t, shards, users...),
		clients: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // a balancer's health checks are not its clients'
	}
	a.direct = a.redis.Direct(t)
	for _, p := range a.redis.Proxies {
		p.Quiet()
	}
	a.launch()
	for i := range accounts {
		var made struct{ ID string }
		body := fmt.Sprintf(`{"name": "account %d", "provider": %q, "base_url": %q, "private_network": true, "credential": {"type": "api_key", "secret": "test-key-%d"}}`,
			i, provider, a.vendor.server.URL, i)
		if err := a.fleet[0].ask(http.MethodPost, "/admin/v1/accounts", body, &made); err != nil {
			t.Fatal(err)
		}
		a.accounts = append(a.accounts, made.ID)
	}
	return a
}

// user is the name by which a process signs in to Redis, so that proxies know it.
func user(process int) string { return fmt.Sprintf("process%d", process) }

// launch starts the fleet: each process has a directory of its own and all of them
// the same master key.
func (a *arena) launch() {
	var master []byte
	for i := range processes {
		p := &process{
			t: a.t, number: i, addr: freeAddress(a.t), dir: a.t.TempDir(), log: new(transcript),
			client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: clientPatience},
			settings: []string{
				"SLUICE_ADMIN_TOKEN=" + adminToken, "SLUICE_REDIS_URL=" + a.redis.URL(user(i)).Reveal(), "SLUICE_STREAM_IDLE=2s",
				"SLUICE_HEADER_TIMEOUT=8s", "SLUICE_DRAIN_TIMEOUT=2s", "SLUICE_SHUTDOWN_TIMEOUT=25s",
			},
		}
		path := filepath.Join(p.dir, "master.key")
		if master != nil {
			if err := os.WriteFile(path, master, 0o600); err != nil {
				a.t.Fatal(err)
			}
		}
		a.t.Cleanup(func() { a.bury(p) })
		p.start()
		if master == nil {
			var err error
			if master, err = os.ReadFile(path); err != nil {
				a.t.Fatal(err)
			}
		}
		a.fleet = append(a.fleet, p)
	}
}

// bury ends a process for good, and looks at what it wrote.
func (a *arena) bury(p *process) {
	p.kill()
	log := p.log.String()
	if i := strings.Index(log, "DATA RACE"); i >= 0 {
		a.t.Errorf("process %d has a data race: %s", p.number, log[i:min(len(log), i+3000)])
	}
	if i := strings.Index(log, "\npanic: "); i >= 0 {
		a.t.Errorf("process %d panicked: %s", p.number, log[i:min(len(log), i+3000)])
	}
}

// owners makes the owners of an episode, one with a budget that a few calls use up,
// and so many keys, one for each call.
func (a *arena) owners(name string, calls int) ([]key, map[string]money.Nanos) {
	a.t.Helper()
	const plenty, tight = 20 * money.Dollar, 12 * money.Dollar / 100
	budgets := make(map[string]money.Nanos)
	var teams []string
	for i := range processes {
		usd := plenty
		if i == 0 {
			usd = tight
		}
		var made struct{ ID string }
		body := fmt.Sprintf(`{"name": "%s %d", "limits": {"budgets": [{"per": "total", "usd": "%s"}]}}`, name, i, usd)
		if err := a.fleet[i].ask(http.MethodPost, "/admin/v1/teams", body, &made); err != nil {
			a.t.Fatal(err)
		}
		teams, budgets[made.ID] = append(teams, made.ID), usd
	}
	keys, errs := make([]key, calls), make([]error, processes)
	var making sync.WaitGroup
	for i, p := range a.fleet {
		making.Go(func() {
			for n := i; n < calls && errs[i] == nil; n += processes {
				keys[n].Team = teams[n%len(teams)]
				errs[i] = p.ask(http.MethodPost, "/admin/v1/keys", fmt.Sprintf(`{"name": "%s %d", "team": %q}`, name, n, keys[n].Team), &keys[n])
			}
		})
	}
	making.Wait()
	for _, err := range errs {
		if err != nil {
			a.t.Fatal(err)
		}
	}
	return keys, budgets
}

// calm ends every fault: what was killed runs again, and the accounts are healthy.
func (a *arena) calm() {
	a.t.Helper()
	for i, p := range a.fleet {
		for _, proxy := range a.redis.Proxies {
			proxy.Banish(user(i), false)
		}
		p.thaw()
	}
	a.redis.Heal(a.t)
	a.vendor.step.Store(0)
	for _, p := range a.fleet {
		if p.over() {
			p.start()
		}
	}
}

// heal forgets what the accounts were blamed for.
func (a *arena) heal() {
	a.t.Helper()
	for _, id := range a.accounts {
		var err error
		if !poll(patience, func() bool {
			err = a.fleet[0].ask(http.MethodPost, "/admin/v1/accounts/"+id+"/reset", "{}", nil)
			return err == nil
		}) {
			a.t.Fatal(err)
		}
	}
}
