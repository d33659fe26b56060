package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Built is what `make artifacts` made for the deployment.
type Built struct {
	Digest string // of the relay's image
	Relay  string // folder with the relay's bootstrap
	Sweep  string // folder with the sweep's
}

// built finds it; it errs with the target that makes it.
func built(dir, streamer string) (Built, error) {
	b := Built{Digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", Relay: filepath.Join(dir, "lambda", "relay"), Sweep: filepath.Join(dir, "lambda", "sweep")}
	needed := []string{filepath.Join(b.Sweep, "bootstrap")}
	if streamer == Lambda {
		needed = append(needed, filepath.Join(b.Relay, "bootstrap"))
	}
	for _, path := range needed {
		if _, err := os.Stat(path); err != nil {
			return b, fmt.Errorf("%s is missing: run make artifacts", path)
		}
	}
	return b, nil
}
