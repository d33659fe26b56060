package relay

import (
	"net/http"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/money"
	"sluice/shared/usage"
)

// absent are the paths of protocols that clients may try and that this version
// does not speak.
var absent = []string{
	"/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1beta/", "/openai/", "/gemini/", "/droid/", "/azure/", "/model/", "/bedrock/",
}

// holderRoutes are what the holder of a key may ask beside calls: which models
// there are, and what the key is and has used.
func (rl *Relay) holderRoutes(mux *http.ServeMux) {
	front := rl.Fronts[0]
	for _, base := range []string{"", "/api", "/claude"} {
		mux.HandleFunc("GET "+base+"/v1/models", rl.handle(front, (*Relay).models))
		mux.HandleFunc("GET "+base+"/v1/models/{id}", rl.handle(front, (*Relay).model))
		mux.HandleFunc("HEAD "+base+"/api/hello", hello)
	}
	mux.HandleFunc("GET /v1/me", rl.handle(front, (*Relay).me))
	mux.HandleFunc("GET /v1/me/usage", rl.handle(front, (*Relay).myUsage))
	for _, path := range absent {
		mux.HandleFunc(path, rl.handle(front, (*Relay).notThere))
	}
	mux.HandleFunc("/", rl.handle(front, (*Relay).unknown))
}

// hello answers the reachability check of Claude Code, to anyone.
func hello(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func (rl *Relay) unknown(x *exchange) (err error) {
	if x.key, err = rl.locate(x); err != nil {
		return err
	}
	return fault.New(fault.NotFound, "there is no route %s %s", x.r.Method, x.r.URL.Path)
}

func (rl *Relay) notThere(x *exchange) (err error) {
	if x.key, err = rl.locate(x); err != nil {
		return err
	}
	return fault.New(fault.NotImplemented, "this version of Sluice does not speak the protocol of %s; it speaks Anthropic Messages (POST /v1/messages)", x.r.URL.Path)
}

// holder finds the key and verifies that it is current.
func (rl *Relay) holder(x *exchange) (err error) {
	if x.key, err = rl.locate(x); err != nil {
		return err
	}
	return rl.Gate.Verify(x.ctx, x.key)
}

// owner is what the holder of a key sees of the key and those it draws on.
type owner struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	TimeZone string            `json:"time_zone,omitempty"`
	Limits   admission.Limits  `json:"limits"`
	Balance  admission.Balance `json:"balance"`
}

// me tells a key's holder what the key is, its limits and what it has used of them.
func (rl *Relay) me(x *exchange) error {
	if err := rl.holder(x); err != nil {
		return err
	}
	k := &x.key.Key
	answer := struct {
		owner
		Hint      string           `json:"hint"`
		ExpiresAt *time.Time       `json:"expires_at,omitempty"`
		Models    admission.Models `json:"models"`
		User      *owner           `json:"user,omitempty"`
		Team      *owner           `json:"team,omitempty"`
	}{Hint: k.Hint, ExpiresAt: k.ExpiresAt, Models: k.Models}
	for _, o := range x.key.Owners() {
		balance, err := rl.Ledger.Balance(x.ctx, x.key.Partition, o)
		if err != nil {
			return err
		}
		seen := owner{ID: o.ID, Name: o.Name, TimeZone: o.TimeZone, Limits: o.Limits, Balance: balance}
		switch o.ID {
		case k.ID:
			answer.owner = seen
		case k.User:
			answer.User = &seen
		default:
			answer.Team = &seen
		}
	}
	return x.reply(answer)
}

// myUsage sums what the key used by day and model; ?from= and ?to= bound it.
func (rl *Relay) myUsage(x *exchange) error {
	if err := rl.holder(x); err != nil {
		return err
	}
	q := usage.Query{Key: x.key.Key.ID, User: x.key.Key.User, Team: x.key.Key.Team, Grain: usage.Day, GroupBy: []usage.Dimension{usage.ByModel}}
	for name, at := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := x.r.URL.Query().Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return fault.At(name, "%q is not a time; write it as 2026-01-31T00:00:00Z", text)
			}
			*at = t
		}
	}
	sums, err := rl.Ledger.Sum(x.ctx, q)
	if err != nil {
		return err
	}
	type row struct {
		usage.Row
		Model string `json:"model"`
	}
	answer := struct {
		Data  []row       `json:"data"`
		Total money.Nanos `json:"total_usd"`
	}{Data: []row{}}
	for _, s := range sums {
		answer.Data = append(answer.Data, row{s, s.Group[0]})
		answer.Total += s.Cost
	}
	return x.reply(answer)
}
