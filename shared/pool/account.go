// Package pool chooses the account that serves a call and leases a place on it.
//
// A Router orders the accounts that may serve the model (priority, then weighted
// rendezvous hashing of the session, so that a session stays where the vendor's
// prompt cache is warm) and leases the first that is healthy and free, in one
// script. The Store port says what Redis must do; shared/store/accounts does it.
package pool

import (
	"time"

	"sluice/shared/llm"
	"sluice/shared/provider"
)

// Account is one credential at one vendor, as configured.
type Account struct {
	ID             string        `json:"id"`
	Name           string        `json:"name"`
	Provider       string        `json:"provider"`           // a name in provider/all
	BaseURL        string        `json:"base_url,omitempty"` // "" = the vendor's own
	Region         string        `json:"region,omitempty"`   //
	Auth           provider.Auth `json:"auth"`               // how the secret is presented
	Hint           string        `json:"hint,omitempty"`     // last four characters of the secret
	Sealed         []byte        `json:"sealed"`             // Credential as JSON, sealed by the vault with the id as context
	Proxy          string        `json:"proxy,omitempty"`    // http, https or socks5 URL; its password only within Sealed
	Priority       int           `json:"priority"`           // lower first
	Weight         int           `json:"weight"`             // 1–100 among equals; 0 = takes no new sessions
	Groups         []string      `json:"groups,omitempty"`
	Models         ModelRules    `json:"models"`
	MaxConcurrency int           `json:"max_concurrency,omitempty"` // 0 = unlimited
	PrivateNetwork bool          `json:"private_network,omitempty"` // the base URL or proxy may resolve to a private address
	Paused         bool          `json:"paused,omitempty"`          // by hand; never resumes by itself
	Version        int64         `json:"version"`
	CreatedAt      time.Time     `json:"created_at"`
	UpdatedAt      time.Time     `json:"updated_at"`
}

// ModelRules say which models an account serves and under which names.
type ModelRules struct {
	Allow []string          `json:"allow,omitempty"` // patterns (path.Match) of names that clients use; empty = all
	Map   map[string]string `json:"map,omitempty"`   // client's name → vendor's name; others go as they are
}

// Want is what a call needs of an account.
type Want struct {
	Call      string       // id
	Model     string       // as the client named it
	Protocol  llm.Protocol // the account's vendor must speak it
	Key       string       // id; sessions are scoped to it
	Session   string       // "" = the call itself
	Account   string       // only this account
	Group     string       // only accounts of this group
	Unmetered bool         // takes no lease (count_tokens): only health counts
}
