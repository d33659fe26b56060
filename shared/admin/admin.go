// Package admin is the HTTP API of operators, under /admin/v1: the keys, users,
// teams and accounts, what they used, and how they fare.
//
// Bodies are JSON and read strictly: a field that is unknown, occurs twice or has
// the wrong type is refused by its path. A PATCH is a JSON merge patch (RFC 7396)
// whose result is validated as a whole. Every record has an ETag, and If-Match is
// honoured on writes. Errors have one envelope, {"error":{"code","message","field"}}.
// Secrets are write-only, but for a key's own, which is shown once when it is made.
//
// The handler reaches stores through the small ports of this package only. Its
// OpenAPI description is served at /admin/v1/openapi.json, and a test holds it
// against the routes.
package admin

import (
	"log/slog"
	"net/http"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/secret"
)

// Prefix is the path that every route begins with.
const Prefix = "/admin/v1"

// Deps are what the API stands on. Everything is required but where it says
// otherwise.
type Deps struct {
	Token    secret.Value // of the administrator
	TokenSum string       // its SHA-256 in hex, where only that is known; without either nobody gets in

	Keys        Records[admission.Key]
	Users       Records[admission.User]
	Teams       Records[admission.Team]
	Accounts    Records[pool.Account]
	Census      Census
	Credentials Sealer
	Usage       Usage
	Ledger      Ledger
	Health      Health
	Tester      Tester // nil: accounts cannot be tested

	Vendors  []Vendor       // that an account may be of
	Dialects []llm.Protocol // that a key may be restricted to

	Loopback bool             // served on a loopback address: only requests for one, or for Hosts, are answered
	Hosts    []string         // further names, without port, that requests may be for; may be empty
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // gets a line for every write, and the causes of errors; nil: none
}

// Vendor is a provider that accounts may be of.
type Vendor struct {
	Name     string // as an account names it
	NeedsURL bool   // it has no endpoint of its own: an account must name one
}

// api is the handler's state.
type api struct {
	Deps
	token  []byte // SHA-256 of the administrator's; of another length when there is none
	origin *http.CrossOriginProtection
	mux    *http.ServeMux
}

// New is the handler of everything under Prefix.
func New(d Deps) http.Handler {
	a := &api{
		Deps: d, token: tokenSum(&d), origin: http.NewCrossOriginProtection(), mux: http.NewServeMux(),
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	if a.Logger == nil {
		a.Logger = slog.New(slog.DiscardHandler)
	}
	for _, r := range a.routes() {
		a.mux.Handle(r.method+" "+Prefix+r.path, a.handler(r.serve))
	}
	a.mux.Handle("/", a.handler(a.unrouted))
	return a.mux
}

// serve answers a request. An error that it returns is answered in the envelope.
type serve func(*call) error

// call is a request being answered.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	id    string // of the request, in its answer and in logs
	actor string // who asks
	wrote bool   // an answer has begun
}

// handler guards and runs s.
func (a *api) handler(s serve) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, id: llm.NewID("req_", a.Now())}
		secure(w.Header())
		w.Header().Set("X-Request-Id", c.id)
		err := a.guard(c)
		if err == nil {
			err = s(c)
		}
		if err != nil {
			a.fail(c, err)
		}
	})
}

// record runs a write and leaves a line of it in the log, whatever its outcome.
func (a *api) record(c *call, action, kind, id string, write func() error) error {
	err := write()
	attrs := []any{"request_id", c.id, "actor", c.actor, "action", action, "kind", kind, "id", id}
	if err != nil {
		a.Logger.WarnContext(c.r.Context(), "admin write refused", append(attrs, "error", fault.From(err))...)
		return err
	}
	a.Logger.InfoContext(c.r.Context(), "admin write", attrs...)
	return nil
}
