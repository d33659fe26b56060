//go:build !unix

package archive

import "os"

// lock does nothing where there is no flock: the embedded store's own lock keeps
// a second process out of the data directory.
func lock(*os.File) error { return nil }
