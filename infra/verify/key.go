package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sluice/shared/money"
	"sluice/shared/secret"
)

const (
	keyName   = "verify-aws"
	keyBudget = money.Dollar
	// keyLife bounds the key should nobody be there to delete it: the program was
	// killed, or the deployment went away.
	keyLife = time.Hour
)

// key is the key that the checks call with.
type key struct {
	ID      string
	Secret  secret.Value `json:"key"`
	Balance *balance
}

// balance is what a key holds.
type balance struct {
	Held money.Nanos `json:"held_usd"`
	Open int64
}

// makeKey makes a key and uses it.
func (s *suite) makeKey(ctx context.Context) finding {
	if !s.signedIn {
		return notSignedIn()
	}
	expires := time.Now().Add(keyLife).UTC()
	type budget struct {
		Per string      `json:"per"`
		USD money.Nanos `json:"usd"`
	}
	ask := map[string]any{
		"name": keyName, "expires_at": expires, "tags": map[string]string{"made_by": keyName},
		"limits": map[string]any{"budgets": []budget{{"total", keyBudget}}},
	}
	var k key
	// An interruption now would leave a key whose id nobody knows.
	if err := s.client.admin(context.WithoutCancel(ctx), http.MethodPost, "/keys", ask, &k); err != nil {
		if statusOf(err) == 0 {
			s.left = append(s.left, fmt.Sprintf("perhaps a key named %s: the answer to its making was lost; it expires at %s", keyName, expires.Format(time.RFC3339)))
		}
		return fails("no key could be made: %v", err)
	}
	if k.ID == "" || k.Secret.Empty() {
		return fails("the answer to POST %s/keys has no id and no key", adminPath)
	}
	s.key = &k
	s.report.conceal(k.Secret)
	if err := s.client.ask(ctx, http.MethodGet, "/v1/me", k.Secret, nil, nil); err != nil {
		return fails("the new key is not accepted: %v", err)
	}
	return works("made with a budget of $%s until %s, and accepted", keyBudget, expires.Format("15:04 UTC"))
}

// removeKey deletes the key and waits until it is refused: every process may
// remember for half a minute where a key is, and must notice that it is gone.
// Whoever interrupted the program does not wait for that.
func (s *suite) removeKey(ctx context.Context, interrupted bool) finding {
	if s.key == nil {
		return skip("no key was made")
	}
	err := s.client.admin(ctx, http.MethodDelete, "/keys/"+s.key.ID, nil, nil)
	if err != nil && statusOf(err) != http.StatusNotFound {
		s.left = append(s.left, fmt.Sprintf("the key %s: delete it with DELETE %s/keys/%s", keyName, adminPath, s.key.ID))
		return fails("it could not be deleted: %v", err)
	}
	if interrupted {
		return skip("deleted; it was not waited for that it is refused")
	}
	gone := s.until(ctx, func() bool {
		err = s.client.ask(ctx, http.MethodGet, "/v1/me", s.key.Secret, nil, nil)
		return statusOf(err) == http.StatusUnauthorized
	})
	switch {
	case gone:
		return works("deleted, and refused since")
	case err == nil:
		s.left = append(s.left, fmt.Sprintf("the key %s, which was deleted and is still accepted; look at DELETE %s/keys/%s", keyName, adminPath, s.key.ID))
		return fails("it was deleted, and is still accepted after %s", s.o.patience)
	}
	return fails("it was deleted, and is not refused with 401: %v", err)
}

// bill sums what the records of the key say once no call is open. Whoever
// interrupted the program does not wait for that.
func (s *suite) bill(ctx context.Context, interrupted bool) bill {
	b := bill{trials: s.trials}
	if s.key == nil {
		b.known = true // nothing could be called
		return b
	}
	b.open = interrupted || !s.until(ctx, func() bool { return s.idle(ctx) == nil })
	records, err := s.records(ctx)
	if err != nil {
		return b
	}
	b.known = true
	for _, r := range records {
		b.calls++
		b.cost += r.Cost
	}
	return b
}
