package main

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice/infra/image"
)

// Built is what `make artifacts` made for the deployment.
type Built struct {
	Digest string // of the relay's image
	Relay  string // folder with the relay's bootstrap
	Sweep  string // folder with the sweep's
	Rollup string // folder with the rollup's
}

// built finds it; it errs with the target that makes it. The image is built here
// only to know its digest; bin/deploy pushes the same.
func built(dir string) (Built, error) {
	b := Built{Relay: filepath.Join(dir, "lambda", "relay"), Sweep: filepath.Join(dir, "lambda", "sweep"), Rollup: filepath.Join(dir, "lambda", "rollup")}
	binary := filepath.Join(dir, "arm64", "streamer")
	for _, path := range []string{binary, filepath.Join(b.Relay, "bootstrap"), filepath.Join(b.Sweep, "bootstrap"), filepath.Join(b.Rollup, "bootstrap")} {
		if _, err := os.Stat(path); err != nil {
			return b, fmt.Errorf("%s is missing: run make artifacts", path)
		}
	}
	img, err := image.Build(image.Options{Binary: binary})
	if err != nil {
		return b, err
	}
	digest, err := img.Digest()
	b.Digest = digest.String()
	return b, err
}
