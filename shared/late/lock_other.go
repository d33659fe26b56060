//go:build !unix

package late

import "os"

// lock does nothing where there is no flock: the embedded store's own lock keeps
// a second process out of the data directory.
func lock(*os.File) (bool, error) { return true, nil }
