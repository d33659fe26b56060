// Package accounts keeps the runtime state of all accounts in Redis: leases,
// cool-downs and which call leased which account. All its keys share one slot,
// so that one script chooses among accounts. It implements pool.Store.
package accounts

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/store"
)

//go:embed lib.lua
var lib string

//go:embed acquire.lua
var acquireSource string

//go:embed release.lua
var releaseSource string

//go:embed renew.lua
var renewSource string

var (
	acquireScript = store.NewScript("acquire", lib+acquireSource)
	releaseScript = store.NewScript("release", lib+releaseSource)
	renewScript   = store.NewScript("renew", lib+renewSource)
)

// Store is the state of all accounts. It is safe for concurrent use.
type Store struct{ client *store.Client }

// New is a Store.
func New(c *store.Client) *Store { return &Store{c} }

// Accounts are all accounts and the version of the set, read at once.
func (s *Store) Accounts(ctx context.Context) ([]pool.Account, int64, error) {
	pipe := s.client.Redis().TxPipeline()
	records := pipe.HGetAll(ctx, store.Accounts())
	version := pipe.Get(ctx, store.AccountsVersion())
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, 0, store.Fault(err)
	}
	list := make([]pool.Account, 0, len(records.Val()))
	for id, raw := range records.Val() {
		var a pool.Account
		if err := json.Unmarshal([]byte(raw), &a); err != nil {
			return nil, 0, fmt.Errorf("accounts: stored account %s: %w", id, err)
		}
		list = append(list, a)
	}
	if version.Val() == "" {
		return list, 0, nil
	}
	n, err := version.Int64()
	return list, n, err
}

// Version is the version of the set of accounts; 0 before the first change.
func (s *Store) Version(ctx context.Context) (int64, error) {
	n, err := s.client.Redis().Get(ctx, store.AccountsVersion()).Int64()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	return n, store.Fault(err)
}

type acquireArgs struct {
	Call     string       `json:"call"`
	Attempt  string       `json:"attempt"`
	Version  string       `json:"version"`
	Metered  bool         `json:"metered"`
	Patient  bool         `json:"patient"`
	TTL      int64        `json:"ttl"` // ms
	Asks     []askArgs    `json:"asks"`
	Previous *releaseArgs `json:"previous,omitempty"`
}

type askArgs struct {
	Account string `json:"account"`
	Family  string `json:"family"`
	Max     int    `json:"max"`
}

type releaseArgs struct {
	Call    string         `json:"call"`
	Attempt string         `json:"attempt"`
	Healthy bool           `json:"healthy"`
	Scope   provider.Scope `json:"scope"`
	Family  string         `json:"family"`
	Cool    string         `json:"cool,omitempty"` // Unix ms
	Why     string         `json:"why"`
}

// Acquire leases the first asked account that is healthy and free.
func (s *Store) Acquire(ctx context.Context, r pool.Request) (pool.Acquired, error) {
	args := acquireArgs{
		Call: r.Call, Attempt: strconv.Itoa(r.Attempt), Version: strconv.FormatInt(r.Version, 10),
		Metered: r.Metered, Patient: r.Patient, TTL: pool.LeaseTTL.Milliseconds(),
	}
	keys := append(make([]string, 0, 2+3*(len(r.Asks)+1)), store.AccountsVersion(), store.CallLeases())
	for _, a := range r.Asks {
		args.Asks = append(args.Asks, askArgs{a.Account, a.Family, a.Max})
		keys = append(keys, store.AccountLeases(a.Account), store.AccountHealth(a.Account), store.VendorHealth(a.Vendor))
	}
	if p := r.Previous; p != nil {
		args.Previous = releaseOf(*p)
		keys = append(keys, store.AccountLeases(p.Account), store.AccountHealth(p.Account), store.VendorHealth(p.Vendor))
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return pool.Acquired{}, err
	}
	got, err := s.client.Run(ctx, store.Call{Script: acquireScript, Keys: keys, Args: []any{raw}})
	if err != nil {
		return pool.Acquired{}, err
	}
	return acquired(got, r.Asks)
}

func acquired(got any, asks []pool.Ask) (pool.Acquired, error) {
	items, _ := got.([]any)
	if len(items) < 3 {
		return pool.Acquired{}, fmt.Errorf("accounts: acquire answered %v", got)
	}
	word, _ := items[0].(string)
	now, _ := items[1].(int64)
	index, _ := items[2].(int64)
	outcome, known := outcome(word)
	if !known {
		return pool.Acquired{}, fmt.Errorf("accounts: acquire answered %q", word)
	}
	a := pool.Acquired{Outcome: outcome, Index: int(index), Now: time.UnixMilli(now)}
	for i := 3; i+2 < len(items); i += 3 {
		at, _ := items[i].(int64)
		why, _ := items[i+1].(string)
		until, _ := items[i+2].(int64)
		p := pool.Passed{Account: asks[at].Account, Why: pool.Obstacle(why)}
		if until > 0 {
			p.Until = time.UnixMilli(until)
		}
		a.Passed = append(a.Passed, p)
	}
	return a, nil
}

func outcome(word string) (o pool.Outcome, known bool) {
	switch word {
	case "leased":
		return pool.Leased, true
	case "stale":
		return pool.Stale, true
	case "waits":
		return pool.Waits, true
	case "none":
		return pool.None, true
	default:
		return 0, false
	}
}

// Release ends the attempt of a lease.
func (s *Store) Release(ctx context.Context, r pool.Release) error {
	_, err := s.client.Run(ctx, ReleaseCall(r))
	return err
}

// ReleaseCall is Release as a script run, to be sent together with others.
func ReleaseCall(r pool.Release) store.Call {
	raw, err := json.Marshal(releaseOf(r))
	if err != nil {
		panic(err) // it holds nothing that cannot be marshalled
	}
	return store.Call{Script: releaseScript, Args: []any{raw}, Keys: []string{
		store.CallLeases(), store.AccountLeases(r.Account), store.AccountHealth(r.Account), store.VendorHealth(r.Vendor),
	}}
}

func releaseOf(r pool.Release) *releaseArgs {
	args := &releaseArgs{
		Call: r.Call, Attempt: strconv.Itoa(r.Attempt), Healthy: r.Healthy, Scope: r.Scope, Family: r.Family, Why: r.Reason,
	}
	if !r.CoolUntil.IsZero() {
		args.Cool = strconv.FormatInt(r.CoolUntil.UnixMilli(), 10)
	}
	return args
}

// Renew extends leases.
func (s *Store) Renew(ctx context.Context, held []pool.Held) error {
	if len(held) == 0 {
		return nil
	}
	keys, args := []string{store.CallLeases()}, []any{pool.LeaseTTL.Milliseconds()}
	for _, h := range held {
		keys = append(keys, store.AccountLeases(h.Account))
		args = append(args, h.Call, fmt.Sprintf("%s|%d|%d", h.Account, h.Attempt, h.Since.UnixMilli()))
	}
	_, err := s.client.Run(ctx, store.Call{Script: renewScript, Keys: keys, Args: args})
	return err
}

// LeaseOf says which of the calls hold a lease, or held one when their process died.
func (s *Store) LeaseOf(ctx context.Context, calls []string) (map[string]pool.LeaseInfo, error) {
	found := make(map[string]pool.LeaseInfo)
	if len(calls) == 0 {
		return found, nil
	}
	marks, err := s.client.Redis().HMGet(ctx, store.CallLeases(), calls...).Result()
	if err != nil {
		return nil, store.Fault(err)
	}
	for i, mark := range marks {
		text, _ := mark.(string)
		parts := strings.Split(text, "|")
		if len(parts) != 3 {
			continue
		}
		attempt, attemptErr := strconv.Atoi(parts[1])
		since, sinceErr := strconv.ParseInt(parts[2], 10, 64)
		if err := errors.Join(attemptErr, sinceErr); err != nil {
			return nil, fmt.Errorf("accounts: lease of %s: %w", calls[i], err)
		}
		found[calls[i]] = pool.LeaseInfo{Account: parts[0], Attempt: attempt, Since: time.UnixMilli(since)}
	}
	return found, nil
}

// Forget removes the marks of swept calls. Their leases end by themselves.
func (s *Store) Forget(ctx context.Context, calls []string) error {
	if len(calls) == 0 {
		return nil
	}
	return store.Fault(s.client.Redis().HDel(ctx, store.CallLeases(), calls...).Err())
}
