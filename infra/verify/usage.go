package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"sluice/shared/money"
)

// record is what is read of a usage record.
type record struct {
	Outcome  string
	Unpriced bool
	Usage    struct{ Input, Output int64 }
	Cost     money.Nanos `json:"cost_usd"`
}

// records reads all records of the key.
func (s *suite) records(ctx context.Context) ([]record, error) {
	var all []record
	for cursor := ""; ; {
		q := url.Values{"key": {s.key.ID}, "limit": {"100"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Data []record
			Next string `json:"next_cursor"`
		}
		if err := s.client.admin(ctx, http.MethodGet, "/usage/records?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// usage waits until the answer that was streamed is accounted for: its record has
// the vendor's figures, and nothing is held for it any longer.
func (s *suite) usage(ctx context.Context) finding {
	if s.answers == 0 {
		return skip("no answer was streamed to its end")
	}
	var found record
	var wrong error
	ok := s.until(ctx, func() bool {
		found, wrong = s.settled(ctx)
		return wrong == nil
	})
	if !ok {
		return fails("after %s: %v", s.o.patience, wrong)
	}
	return works("%d tokens in, %d out, $%s, nothing held", found.Usage.Input, found.Usage.Output, found.Cost)
}

// settled errs with what is still missing of a settled call.
func (s *suite) settled(ctx context.Context) (record, error) {
	records, err := s.records(ctx)
	if err != nil {
		return record{}, err
	}
	if len(records) == 0 {
		return record{}, fmt.Errorf("there is no record of the call")
	}
	r := records[0]
	if r.Outcome != "complete" || r.Usage.Input <= 0 || r.Usage.Output <= 0 {
		return r, fmt.Errorf("the record says %q with %d tokens in and %d out", r.Outcome, r.Usage.Input, r.Usage.Output)
	}
	if r.Unpriced || r.Cost <= 0 {
		return r, fmt.Errorf("the record has no price; add one for %s", s.o.model)
	}
	return r, s.idle(ctx)
}

// idle errs while the key has calls in flight, or holds money for them.
func (s *suite) idle(ctx context.Context) error {
	var k key
	if err := s.client.admin(ctx, http.MethodGet, "/keys/"+s.key.ID, nil, &k); err != nil {
		return err
	}
	if k.Balance == nil {
		return errors.New("the key has no balance")
	}
	if k.Balance.Held != 0 || k.Balance.Open != 0 {
		return fmt.Errorf("the key still holds $%s for %d calls in flight", k.Balance.Held, k.Balance.Open)
	}
	return nil
}
