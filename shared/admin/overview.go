package admin

import (
	"context"
	"net/http"
	"time"

	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/usage"
)

// overview is the body of GET /overview.
type overview struct {
	Counts   Counts           `json:"counts"`
	Accounts []accountSummary `json:"accounts"`
	Today    today            `json:"today"`
	Open     open             `json:"open"`
}

// accountSummary is an account with its state.
type accountSummary struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Provider string      `json:"provider"`
	State    *healthView `json:"state"`
}

// today is what was settled since midnight in the time zone asked for.
type today struct {
	Since        time.Time   `json:"since"`
	Requests     int64       `json:"requests"`
	Estimated    int64       `json:"estimated"`
	Unpriced     int64       `json:"unpriced"`
	Input        int64       `json:"input"`
	Output       int64       `json:"output"`
	CacheRead    int64       `json:"cache_read"`
	CacheWrite5m int64       `json:"cache_write_5m"`
	CacheWrite1h int64       `json:"cache_write_1h"`
	Reasoning    int64       `json:"reasoning"`
	Cost         money.Nanos `json:"cost_usd"`
}

// open is what is in flight.
type open struct {
	Calls int64       `json:"calls"`
	Held  money.Nanos `json:"held_usd"`
}

// overview answers GET /overview. It costs a sum of the day's records.
func (a *api) overview(c *call) error {
	q, err := c.query("time_zone")
	if err != nil {
		return err
	}
	zone, err := location(q)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	var o overview
	if o.Counts, err = a.Census.Counts(ctx); err != nil {
		return err
	}
	if o.Accounts, err = a.summaries(ctx); err != nil {
		return err
	}
	if o.Today, err = a.today(ctx, zone); err != nil {
		return err
	}
	if o.Open.Calls, o.Open.Held, err = a.Ledger.Open(ctx); err != nil {
		return err
	}
	return c.json(http.StatusOK, o)
}

// summaries are all accounts. They are few: every call looks at all of them.
func (a *api) summaries(ctx context.Context) ([]accountSummary, error) {
	states, err := a.Health.States(ctx)
	if err != nil {
		return nil, err
	}
	all, now := []accountSummary{}, a.Now()
	for cursor := ""; ; {
		var accounts []pool.Account
		if accounts, cursor, err = a.Accounts.List(ctx, cursor, maxPage); err != nil {
			return nil, err
		}
		for i := range accounts {
			x := &accounts[i]
			all = append(all, accountSummary{x.ID, x.Name, x.Provider, health(states[x.ID], x.Paused, now)})
		}
		if cursor == "" {
			return all, nil
		}
	}
}

func (a *api) today(ctx context.Context, zone *time.Location) (today, error) {
	since := usage.Day.Start(a.Now().In(zone))
	rows, err := a.Usage.Sum(ctx, usage.Query{From: since, Grain: usage.Day, Zone: zone})
	if err != nil || len(rows) == 0 {
		return today{Since: since}, err
	}
	r := rows[0] // the only bucket
	return today{
		Since: since, Requests: r.Requests, Estimated: r.Estimated, Unpriced: r.Unpriced, Input: r.Input, Output: r.Output,
		CacheRead: r.CacheRead, CacheWrite5m: r.CacheWrite5m, CacheWrite1h: r.CacheWrite1h, Reasoning: r.Reasoning, Cost: r.Cost,
	}, nil
}
