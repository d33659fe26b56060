package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/store"
)

// States are the states of all accounts, by id. It errs with fault.StoreDown.
func (s *Store) States(ctx context.Context) (map[string]pool.State, error) {
	list, _, err := s.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.client.Redis().Time(ctx).Result()
	if err != nil {
		return nil, store.Fault(err)
	}
	pipe := s.client.Redis().Pipeline()
	type cmds struct {
		leases         *redis.IntCmd
		health, vendor *redis.MapStringStringCmd
	}
	asked := make([]cmds, len(list))
	for i, a := range list {
		asked[i] = cmds{
			leases: pipe.ZCount(ctx, store.AccountLeases(a.ID), strconv.FormatInt(now.UnixMilli(), 10), "+inf"),
			health: pipe.HGetAll(ctx, store.AccountHealth(a.ID)),
			vendor: pipe.HGetAll(ctx, store.VendorHealth(a.Provider)),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, store.Fault(err)
	}
	states := make(map[string]pool.State, len(list))
	for i, a := range list {
		st := pool.State{ID: a.ID, Leases: int(asked[i].leases.Val())}
		health := asked[i].health.Val()
		st.CoolUntil = ahead(health["until"], now)
		if !st.CoolUntil.IsZero() {
			st.Reason = health["why"]
		}
		if n, err := strconv.Atoi(health["places"]); err == nil {
			st.Recovering = n
		}
		families(&st, health, now)
		families(&st, asked[i].vendor.Val(), now)
		states[a.ID] = st
	}
	return states, nil
}

// families adds the cool-downs of model families in a health hash.
func families(st *pool.State, health map[string]string, now time.Time) {
	for field, value := range health {
		family, ok := strings.CutPrefix(field, "f:")
		until := ahead(value, now)
		if !ok || until.IsZero() || !until.After(st.Families[family].Until) {
			continue
		}
		if st.Families == nil {
			st.Families = make(map[string]pool.Cool)
		}
		st.Families[family] = pool.Cool{Until: until, Reason: health["w:"+family]}
	}
}

// ahead is a stored time that is still to come, else zero.
func ahead(ms string, now time.Time) time.Time {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	if t := time.UnixMilli(n); t.After(now) {
		return t
	}
	return time.Time{}
}

// Reset ends the cool-downs of an account, those of its vendor included. It errs
// with fault.NotFound and StoreDown.
func (s *Store) Reset(ctx context.Context, id string) error {
	raw, err := s.client.Redis().HGet(ctx, store.Accounts(), id).Bytes()
	if errors.Is(err, redis.Nil) {
		return fault.New(fault.NotFound, "there is no account %q", id)
	}
	if err != nil {
		return store.Fault(err)
	}
	var a pool.Account
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("accounts: stored account %s: %w", id, err)
	}
	return store.Fault(s.client.Redis().Del(ctx, store.AccountHealth(id), store.VendorHealth(a.Provider)).Err())
}
