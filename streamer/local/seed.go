package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/shared/admin"
	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
	"sluice/streamer/node"
)

const (
	simulatorName = "simulator"
	simulatorKey  = "simulator" // the simulator takes any
	anthropicName = "anthropic"
	actor         = "first start"

	// simulatorSpeed is tokens per second, so that a stream looks like one.
	simulatorSpeed = 80
	demoBudget     = 5 * money.Dollar
)

// welcome is what is printed once the process listens.
type welcome struct {
	token     secret.Value // of the admin API, when it was made just now
	key       secret.Value // of the demo, when it was made just now
	simulated bool
	store     string
}

// seed makes what a first start needs, and keeps what there is.
func (p *product) seed(ctx context.Context) (*welcome, error) {
	w := &welcome{store: "embedded, in " + p.settings.DataDir}
	if !p.settings.RedisURL.Empty() {
		w.store = "Redis (SLUICE_REDIS_URL)"
	}
	w.token = p.madeToken
	list, _, err := p.Records().Accounts().List(ctx, "", maxAccounts)
	if err != nil {
		return nil, err
	}
	if err := p.offerSimulator(ctx, list); err != nil {
		return nil, err
	}
	if err := p.offerAnthropic(ctx, list); err != nil {
		return nil, err
	}
	w.simulated = p.simulator != ""
	w.key, err = p.demoKey(ctx)
	return w, err
}

const maxAccounts = 200

// authorize settles the admin token: that of the settings, else the one whose
// digest the data directory keeps, else a new one.
func (p *product) authorize(o *node.Options) error {
	if !p.settings.AdminToken.Empty() {
		o.AdminToken = p.settings.AdminToken
		return nil
	}
	path := filepath.Join(p.settings.DataDir, "admin-token.sha256")
	sum, err := os.ReadFile(path)
	if err == nil {
		o.AdminSum = strings.TrimSpace(string(sum))
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("admin token: %w", err)
	}
	p.madeToken = secret.Mint("sluice-admin-")
	o.AdminToken = p.madeToken
	return os.WriteFile(path, []byte(admission.Digest(p.madeToken)+"\n"), 0o600)
}

// offerSimulator sees to it that an account for the stand-in vendor is there and
// has the address that it listens on this time.
func (p *product) offerSimulator(ctx context.Context, list []pool.Account) error {
	if p.simulator == "" {
		return nil
	}
	for _, a := range list {
		if a.Name != simulatorName || a.Provider != "compatible" {
			continue
		}
		if a.BaseURL == p.simulator {
			return nil
		}
		a.BaseURL = p.simulator
		_, err := p.Records().Accounts().Update(ctx, actor, a)
		return err
	}
	return p.createAccount(ctx, pool.Account{
		Name: simulatorName, Provider: "compatible", BaseURL: p.simulator, PrivateNetwork: true, Priority: 100,
	}, secret.New(simulatorKey))
}

// offerAnthropic makes an account of ANTHROPIC_API_KEY, preferred to the simulator.
func (p *product) offerAnthropic(ctx context.Context, list []pool.Account) error {
	if p.settings.AnthropicAPIKey.Empty() {
		return nil
	}
	for _, a := range list {
		if a.Name == anthropicName && a.Provider == "anthropic" {
			return nil
		}
	}
	return p.createAccount(ctx, pool.Account{Name: anthropicName, Provider: "anthropic", Priority: 10}, p.settings.AnthropicAPIKey)
}

func (p *product) createAccount(ctx context.Context, a pool.Account, key secret.Value) error {
	a.ID, a.Auth, a.Weight, a.Hint = llm.NewID("acct_", time.Now()), provider.APIKey, 100, key.Hint()
	var err error
	if a.Sealed, err = p.Sealer().Seal(ctx, a, &key, nil); err != nil {
		return err
	}
	_, err = p.Records().Accounts().Create(ctx, actor, a)
	return err
}

// demoKey makes the first key, when there is none.
func (p *product) demoKey(ctx context.Context) (secret.Value, error) {
	if p.simulator == "" && p.settings.AnthropicAPIKey.Empty() {
		return secret.Value{}, nil
	}
	keys, _, err := p.Records().Keys().List(ctx, "", 1)
	if err != nil || len(keys) > 0 {
		return secret.Value{}, err
	}
	made := secret.Mint(admin.KeyPrefix)
	_, err = p.Records().Keys().Create(ctx, actor, admission.Key{
		Owner: admission.Owner{
			ID: llm.NewID("key_", time.Now()), Name: "demo", Status: admission.Active,
			Limits: admission.Limits{Budgets: []admission.Budget{{Per: admission.Day, USD: demoBudget}}},
		},
		Digest: admission.Digest(made), Hint: made.Hint(),
	})
	if fault.CodeOf(err) == fault.Conflict { // another process was first
		return secret.Value{}, nil
	}
	return made, err
}

// print tells how to use what was started. Secrets are shown when they were made
// and never again.
func (w *welcome) print(out io.Writer, at net.Addr) {
	url := "http://" + at.String()
	line := func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, format+"\n", args...) // a closed terminal stops nothing
	}
	line("")
	line("  Sluice is at %s   (store: %s)", url, w.store)
	if !w.token.Empty() {
		line("")
		line("  Admin token (shown once):  %s", w.token.Reveal())
	}
	if w.key.Empty() {
		line("  Keys: POST %s/admin/v1/keys with the admin token.   Settings: bin/sluice --help", url)
		line("")
		return
	}
	line("  Demo key (shown once):     %s", w.key.Reveal())
	if w.simulated {
		line("")
		line("  Answers come from a simulator in this process; set ANTHROPIC_API_KEY for real ones.")
	}
	line("")
	line("  Stream an answer:")
	line("    curl -N %s/v1/messages -H 'x-api-key: %s' \\", url, w.key.Reveal())
	line(`      -d '{"model":"claude-sonnet-4-5","max_tokens":300,"stream":true,"messages":[{"role":"user","content":"Hello"}]}'`)
	line("")
	line("  Point Claude Code at it:")
	line("    export ANTHROPIC_BASE_URL=%s ANTHROPIC_AUTH_TOKEN=%s", url, w.key.Reveal())
	line("")
	line("  See what it cost:")
	line("    curl %s/v1/me -H 'x-api-key: %s'", url, w.key.Reveal())
	if !w.token.Empty() {
		line("    curl %s/admin/v1/usage/records -H 'authorization: Bearer %s'", url, w.token.Reveal())
	}
	line("")
}
