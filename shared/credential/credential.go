// Package credential turns a configured account into one that an attempt can use:
// it opens the account's sealed secret. Providers are pure and never do this
// themselves. Nothing here is logged.
package credential

import (
	"context"
	"encoding/json"
	"errors"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
	"sluice/shared/vault"
)

// Vault seals and opens; see vault.Vault.
type Vault interface {
	Seal(ctx context.Context, plain []byte, aad string) ([]byte, error)
	Open(ctx context.Context, sealed []byte, aad string) ([]byte, error)
}

// Source opens the credentials of accounts. It is safe for concurrent use.
type Source struct{ vault Vault }

// New is a Source.
func New(v Vault) *Source { return &Source{v} }

// content is what an account's Sealed holds, as JSON. Its fields are plain text,
// because a secret.Value marshals as redacted; it never leaves this package.
type content struct {
	Secret string `json:"secret"`
	Proxy  string `json:"proxy,omitempty"` // URL with its password
}

// For opens the account for one attempt, and the URL of the proxy that it goes
// through, empty for none. It errs with fault.UpstreamFailed when the credential
// does not open, so that another account may serve; the cause says why.
func (s *Source) For(ctx context.Context, a pool.Account) (provider.Account, secret.Value, error) {
	c, err := s.open(ctx, &a)
	if err != nil {
		return provider.Account{}, secret.Value{}, err
	}
	if c.Secret == "" {
		err := fault.New(fault.UpstreamFailed, "the account %q has no credential; set one", a.Name)
		return provider.Account{}, secret.Value{}, err
	}
	return provider.Account{
		ID: a.ID, BaseURL: a.BaseURL, Region: a.Region, Auth: a.Auth, Secret: secret.New(c.Secret),
	}, secret.New(c.Proxy), nil
}

// Seal makes the account's Sealed with a new key and proxy URL; nil keeps what
// the account's Sealed holds. It errs as For when that does not open, and with
// fault.Internal when the vault cannot seal.
func (s *Source) Seal(ctx context.Context, a pool.Account, key, proxy *secret.Value) ([]byte, error) {
	var c content
	if len(a.Sealed) > 0 && (key == nil || proxy == nil) {
		var err error
		if c, err = s.open(ctx, &a); err != nil {
			return nil, err
		}
	}
	if key != nil {
		c.Secret = key.Reveal()
	}
	if proxy != nil {
		c.Proxy = proxy.Reveal()
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a credential cannot be encoded")
	}
	defer clear(plain)
	sealed, err := s.vault.Seal(ctx, plain, a.ID)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a credential cannot be sealed; check the master key")
	}
	return sealed, nil
}

func (s *Source) open(ctx context.Context, a *pool.Account) (content, error) {
	plain, err := s.vault.Open(ctx, a.Sealed, a.ID)
	if errors.Is(err, vault.ErrSealed) {
		return content{}, fault.Wrap(fault.UpstreamFailed, err, "the credential of account %q does not open; set it again", a.Name)
	}
	if err != nil {
		return content{}, fault.Wrap(fault.UpstreamFailed, err, "the credential of account %q cannot be opened now", a.Name)
	}
	defer clear(plain)
	var c content
	if json.Unmarshal(plain, &c) != nil {
		// The decoder's error may quote the text, so it is no cause.
		return content{}, fault.New(fault.UpstreamFailed, "the credential of account %q is not readable; set it again", a.Name)
	}
	return c, nil
}
