// Package compatible is any vendor or relay that speaks Anthropic Messages at a
// base URL of its own.
package compatible

import "sluice/shared/provider/anthropic"

// Provider needs a base URL on each account.
func Provider() anthropic.Provider { return anthropic.Provider{Vendor: "compatible"} }
