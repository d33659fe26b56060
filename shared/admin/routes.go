package admin

import (
	_ "embed"
	"net/http"
	"slices"
	"strings"

	"sluice/shared/fault"
)

//go:embed openapi.json
var openAPI []byte

// route is a method and a path under Prefix.
type route struct {
	method, path string
	serve        serve
}

// routes are all that there are.
func (a *api) routes() []route {
	all := slices.Concat(a.keys().routes(), a.users().routes(), a.teams().routes(), a.accounts().routes(), []route{
		{http.MethodGet, "/usage", a.sums},
		{http.MethodGet, "/usage/records", a.calls},
		{http.MethodGet, "/overview", a.overview},
		{http.MethodGet, "/openapi.json", describe},
	})
	for _, r := range planned() {
		what := r.what
		all = append(all, route{r.method, r.path, func(*call) error {
			return fault.New(fault.NotImplemented, "%s not implemented yet", what)
		}})
	}
	return all
}

// plan is a route that is spoken for; what is its name and a verb.
type plan struct{ method, path, what string }

// planned are the routes that answer that they are not there yet.
func planned() []plan {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	var all []plan
	for _, kind := range []string{"group", "price", "webhook"} {
		list, one, what := "/"+kind+"s", "/"+kind+"s/{id}", kind+"s are"
		all = append(all, plan{get, list, what}, plan{post, list, what}, plan{get, one, what}, plan{patch, one, what}, plan{del, one, what})
	}
	return append(all,
		plan{post, "/webhooks/{id}/test", "webhooks are"},
		plan{get, "/audit", "reading the audit log is"},
		plan{get, "/settings", "settings are"},
		plan{patch, "/settings", "settings are"},
		plan{post, "/sessions", "sessions are"},
		plan{del, "/sessions/{id}", "sessions are"},
		plan{post, "/oauth/authorizations", "OAuth accounts are"},
		plan{post, "/oauth/authorizations/{id}/exchange", "OAuth accounts are"},
		plan{post, "/accounts/{id}/refresh", "OAuth accounts are"},
	)
}

// describe answers with the description of the API.
func describe(c *call) error {
	c.wrote = true
	c.w.Header().Set("Content-Type", "application/json")
	if _, err := c.w.Write(openAPI); err != nil {
		return fault.Wrap(fault.Gone, err, "the answer was not delivered")
	}
	return nil
}

// unrouted answers what no route takes: 405 when another method would be, else 404.
func (a *api) unrouted(c *call) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		r := c.r.Clone(c.r.Context())
		r.Method = method
		if _, pattern := a.mux.Handler(r); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return fault.New(fault.NotFound, "there is no %s; %s/openapi.json lists what there is", c.r.URL.Path, Prefix)
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	f := fault.New(fault.NotFound, "%s does not take %s; it takes %s", c.r.URL.Path, c.r.Method, strings.Join(allowed, ", "))
	return &overridden{f, http.StatusMethodNotAllowed}
}
