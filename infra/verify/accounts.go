package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// accountsName is the name of the check of accounts. A function in the subnets of
// the Lambda host has no way out but IPv6, so that there it shows one thing more.
func (s *suite) accountsName() string {
	if s.target.host == onLambda {
		return "IPv6 reach"
	}
	return "accounts"
}

// tryAccounts has the deployment test each of its accounts at its vendor.
func (s *suite) tryAccounts(ctx context.Context) finding {
	if !s.signedIn {
		return notSignedIn()
	}
	var good, bad []string
	for _, a := range s.accounts {
		var result struct {
			OK      bool
			Latency int64 `json:"latency_ms"`
			Message string
		}
		err := s.client.admin(ctx, http.MethodPost, "/accounts/"+a.ID+"/test", nil, &result)
		s.trials++
		switch {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s (%s): %v", a.Name, a.Provider, err))
		case !result.OK:
			bad = append(bad, fmt.Sprintf("%s (%s): %s", a.Name, a.Provider, result.Message))
		default:
			good = append(good, fmt.Sprintf("%s (%s) in %d ms", a.Name, a.Provider, result.Latency))
		}
	}
	switch {
	case len(bad) > 0:
		return fails("%s", strings.Join(bad, "; "))
	case len(good) == 0:
		return skip("no account; add one with POST %s/accounts", adminPath)
	}
	return works("reached: %s", strings.Join(good, "; "))
}
