// Package all lists the vendors. Adding one is a folder beside this and a line
// here; a test fails for a folder that is not listed.
package all

import (
	"sluice/shared/provider"
	"sluice/shared/provider/anthropic"
	"sluice/shared/provider/compatible"
)

// Providers are the vendors by the name that an account's provider field says.
func Providers() map[string]provider.Provider {
	byName := make(map[string]provider.Provider)
	for _, p := range []provider.Provider{
		anthropic.Provider{},
		compatible.Provider(),
	} {
		byName[p.Name()] = p
	}
	return byName
}
