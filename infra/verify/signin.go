package main

import (
	"context"
	"net/http"

	"sluice/shared/secret"
)

// overview is what is read of GET /admin/v1/overview.
type overview struct {
	Counts   struct{ Keys, Accounts int64 }
	Accounts []account
}

// account is an account as the overview shows it.
type account struct {
	ID, Name, Provider string
}

// signIn asks for the overview with the admin token, which the admin API answers
// from the store, and with a token that is none.
func (s *suite) signIn(ctx context.Context) finding {
	err := s.client.ask(ctx, http.MethodGet, adminPath+"/overview", secret.Mint("sluice-admin-"), nil, nil)
	if err == nil {
		return fails("an admin token that was just made up is accepted: everyone may administer this deployment")
	}
	if statusOf(err) != http.StatusUnauthorized {
		return fails("a wrong admin token is not refused with 401: %v", err)
	}
	var o overview
	if err := s.client.admin(ctx, http.MethodGet, "/overview", nil, &o); err != nil {
		return fails("the admin token is not accepted, or the store is out of reach: %v", err)
	}
	s.signedIn, s.accounts = true, o.Accounts
	return works("a wrong token is refused, the right one reads the store (keys: %d, accounts: %d)", o.Counts.Keys, o.Counts.Accounts)
}

// notSignedIn is the finding of a check that needs the admin API.
func notSignedIn() finding { return skip("there was no signing in") }
