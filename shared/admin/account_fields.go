package admin

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
)

const (
	maxPriority     = 1000
	defaultPriority = 100 // leaves room before and after
	maxWeight       = 100
	defaultWeight   = 1
	maxGroups       = 32
	maxGroupName    = 64
	maxMapped       = 500  // models of an account's map
	maxURL          = 2048 // bytes
	maxSecret       = 8192 // bytes
)

// screenAccount tells what is not there yet from what is not known, ahead of the
// shape of the body.
func screenAccount(body map[string]any) error {
	if _, ok := body["quota"]; ok {
		return notYet("quota", "quotas of accounts are")
	}
	credential, ok := body["credential"].(map[string]any)
	if !ok {
		return nil
	}
	later := []string{"aws_role", "aws_keys", "aws_bearer", "oauth2", "entra", "service_account"}
	if kind, ok := credential["type"].(string); ok && slices.Contains(later, kind) {
		return notYet("credential.type", "credentials of type "+kind+" are")
	}
	return nil
}

// notYet is the fault of a feature that is not there; what is its name and a verb.
func notYet(at, what string) error {
	f := fault.New(fault.NotImplemented, "%s not implemented yet", what)
	f.Field = at
	return f
}

func (a *api) applyAccount(ctx context.Context, f *accountFields, x *pool.Account) error {
	err := first(
		checkName("name", f.Name),
		a.checkVendor(f),
		within("priority", f.Priority, 0, maxPriority),
		within("weight", f.Weight, 0, maxWeight),
		within("max_concurrency", f.MaxConcurrency, 0, maxConcurrency),
		checkGroups("groups", f.Groups),
		checkModelRules("models", &f.Models),
		checkCredential("credential", f.Credential, len(x.Sealed) == 0),
	)
	if err != nil {
		return err
	}
	if f.Region != "" && !isWord(f.Region, maxGroupName) {
		return fault.At("region", "%q is no name of a region", f.Region)
	}
	if err := a.applyCredential(ctx, f, x); err != nil {
		return err
	}
	x.Name, x.Provider, x.BaseURL, x.Region = f.Name, f.Provider, f.BaseURL, f.Region
	x.Priority, x.Weight, x.Groups, x.Models = f.Priority, f.Weight, f.Groups, f.Models
	x.MaxConcurrency, x.PrivateNetwork = f.MaxConcurrency, f.PrivateNetwork
	return nil
}

// applyCredential seals the secret and the proxy when they change. A proxy as it
// is shown, without its password, is no change.
func (a *api) applyCredential(ctx context.Context, f *accountFields, x *pool.Account) error {
	var key, proxy *secret.Value
	if !f.Credential.Secret.Empty() {
		key = &f.Credential.Secret
	}
	shown := x.Proxy
	if f.Proxy != x.Proxy {
		var err error
		if shown, err = checkProxy("proxy", f.Proxy); err != nil {
			return err
		}
		whole := secret.New(f.Proxy)
		proxy = &whole
	}
	if key != nil || proxy != nil {
		sealed, err := a.Credentials.Seal(ctx, *x, key, proxy)
		if err != nil {
			return err
		}
		x.Sealed = sealed
	}
	if key != nil {
		x.Hint = key.Hint()
	}
	x.Auth, x.Proxy = f.Credential.Type, shown
	return nil
}

func (a *api) checkVendor(f *accountFields) error {
	names := make([]string, len(a.Vendors))
	for i, v := range a.Vendors {
		names[i] = v.Name
	}
	if err := oneOf("provider", f.Provider, names...); err != nil {
		return err
	}
	needs := slices.ContainsFunc(a.Vendors, func(v Vendor) bool { return v.Name == f.Provider && v.NeedsURL })
	if f.BaseURL == "" && needs {
		return fault.At("base_url", "the provider %s has no endpoint of its own; set the URL of one", f.Provider)
	}
	return checkBaseURL("base_url", f.BaseURL, f.PrivateNetwork)
}

func checkBaseURL(at, text string, private bool) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || len(text) > maxURL:
		return fault.At(at, "is no URL; write it as https://host/path")
	case u.Scheme != "https" && (u.Scheme != "http" || !private):
		return fault.At(at, "must begin with https:// (http:// only with private_network)")
	case u.User != nil:
		return fault.At(at, "must not hold a user or password; set the credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fault.At(at, "must not have a query or fragment")
	}
	return nil
}

// checkProxy is the URL as it is shown, without its password. It never repeats
// the URL in a message, which may hold one.
func checkProxy(at, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || len(text) > maxURL:
		return "", fault.At(at, "is no URL; write it as http://user:password@host:port")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return "", fault.At(at, "must begin with http://, https:// or socks5://")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", fault.At(at, "must not have a path, query or fragment")
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String(), nil
}

func checkCredential(at string, c *credentialFields, needed bool) error {
	if c == nil {
		return fault.At(at, `is required; write it as {"type": "api_key", "secret": "…"}`)
	}
	s := c.Secret.Reveal()
	switch {
	case s == "" && needed:
		return fault.At(member(at, "secret"), "is required")
	case len(s) > maxSecret:
		return fault.At(member(at, "secret"), "has more than %d bytes", maxSecret)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		// It would not survive in a header; most likely it was pasted with a line break.
		return fault.At(member(at, "secret"), "must not have spaces or control characters")
	}
	return oneOf(member(at, "type"), c.Type, provider.APIKey, provider.Bearer)
}

func checkGroups(at string, groups []string) error {
	if n := len(groups); n > maxGroups {
		return fault.At(at, "has %d groups, at most %d are accepted", n, maxGroups)
	}
	for i, g := range groups {
		if !isWord(g, maxGroupName) {
			return fault.At(index(at, i), "%q is no name of a group; use up to %d letters, digits and . _ -", g, maxGroupName)
		}
		if slices.Contains(groups[:i], g) {
			return fault.At(index(at, i), "%q occurs twice", g)
		}
	}
	return nil
}

func checkModelRules(at string, m *pool.ModelRules) error {
	if n := len(m.Map); n > maxMapped {
		return fault.At(member(at, "map"), "has %d models, at most %d are accepted", n, maxMapped)
	}
	for from, to := range m.Map {
		err := first(checkModel(member(at, "map"), from), checkModel(member(member(at, "map"), from), to))
		if err != nil {
			return err
		}
	}
	return checkPatterns(member(at, "allow"), m.Allow)
}
