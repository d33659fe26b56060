package relay

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"sluice/shared/egress"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/provider"
)

// Trial is what a test of an account found.
type Trial struct {
	Model   string        // that was asked for, by the vendor's name
	Status  int           // of the vendor's answer; 0 = there was none
	Latency time.Duration // until the answer
	Err     error         // nil when the account works
}

// trialPatience is how long the test of an account may take.
const trialPatience = 30 * time.Second

// Try tests an account by asking it to count the tokens of one word, which is
// free, for the first of the models that it is configured to serve. It takes no
// lease and changes nothing of the account's state.
func (rl *Relay) Try(ctx context.Context, a pool.Account, models []string) Trial {
	ctx, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	model := models[0]
	for _, m := range models {
		if a.Models.Serve(m) {
			model = m
			break
		}
	}
	t := Trial{Model: model}
	began := rl.Now()
	t.Status, t.Err = rl.tryAccount(ctx, a, model)
	t.Latency = rl.Now().Sub(began)
	return t
}

func (rl *Relay) tryAccount(ctx context.Context, a pool.Account, model string) (int, error) {
	candidate, err := rl.Router.Candidate(a, model)
	if err != nil {
		return 0, err
	}
	account, proxy, err := rl.Credentials.For(ctx, a)
	if err != nil {
		return 0, err
	}
	client, err := rl.Clients.Client(egress.Egress{Proxy: proxy, Private: a.PrivateNetwork})
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(map[string]any{
		"model": candidate.Upstream, "messages": []map[string]string{{"role": "user", "content": "ping"}},
	})
	if err != nil {
		return 0, err
	}
	req, err := candidate.Provider.Request(ctx, account, provider.Outbound{
		Op: llm.CountTokens, Model: candidate.Upstream, Header: http.Header{}, Body: body,
	})
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, fault.Wrap(fault.UpstreamFailed, err, "the upstream could not be reached")
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	text, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return res.StatusCode, fault.Wrap(fault.UpstreamCut, err, "the upstream's answer was cut")
	}
	if res.StatusCode/100 != 2 {
		return res.StatusCode, candidate.Provider.Judge(res.StatusCode, res.Header, text, rl.Now()).Err
	}
	return res.StatusCode, nil
}
