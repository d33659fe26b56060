package store

import (
	_ "embed"
	"strings"
)

//go:embed guard.lua
var guardSource string

// guard is the prelude of a guarded script. It is one line, so that a script's
// errors name its own lines. Globals are read-only on the server, therefore the
// prelude shadows redis with a local.
var guard = strings.Join(strings.Fields(guardSource), " ") + " "
