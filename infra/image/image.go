// Package image builds the container image of the streamer and pushes it to
// Amazon ECR: no Docker, no base image, and no network until the push.
//
// The image holds one static binary, the certificates it trusts, and a user that
// is not root; there is no shell and no package manager, so nothing to patch but
// the binary. Certificates and users are a layer below the binary's, because they
// change a few times a year and the binary with every build: a push uploads what
// is new only.
//
// An image is a function of the binary, of the certificates pinned in go.mod and
// of the Go release, whose gzip it uses: timestamps, owners and orders are fixed.
// Built twice, it has the same digest, so that a deployment of what is deployed
// already changes nothing.
package image

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// Entrypoint is where the binary is in the image.
	Entrypoint = "/streamer"
	// User is who runs it, as uid:gid; the image knows it as "sluice".
	User = "65532:65532"
	// Port is what it listens on.
	Port = 8080
	// DefaultArch is the architecture of the task: Fargate on Graviton.
	DefaultArch = "arm64"
)

// Options say what to build.
type Options struct {
	Binary string            // path of a static Linux executable
	Arch   string            // its architecture as Go names it: arm64 or amd64; empty = DefaultArch
	Labels map[string]string // besides those that the image has anyway; may be nil
}

// Build builds the image, in memory. It errs when the binary cannot be read and
// when it could not run in the image: for another system or architecture, or
// linked against libraries that the image does not have.
func Build(o Options) (v1.Image, error) {
	arch := cmp.Or(o.Arch, DefaultArch)
	binary, err := os.ReadFile(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("image: the binary cannot be read (build it first): %w", err)
	}
	if err := runnable(binary, arch); err != nil {
		return nil, fmt.Errorf("image: %s %w", o.Binary, err)
	}
	base, err := system()
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.ConfigFile(img, config(arch, o.Labels))
	if err != nil {
		return nil, fmt.Errorf("image: configuration: %w", err)
	}
	return stack(img,
		content{"certificates and users", base},
		content{"streamer", []file{{name: "streamer", mode: 0o755, body: binary}}},
	)
}

// config is how the image is run. It has no Cmd: settings are environment
// variables, which the task definition gives.
func config(arch string, labels map[string]string) *v1.ConfigFile {
	all := map[string]string{
		"org.opencontainers.image.title":       "sluice",
		"org.opencontainers.image.description": "Sluice streamer: LLM relay",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	maps.Copy(all, labels)
	return &v1.ConfigFile{
		OS:           "linux",
		Architecture: arch,
		Created:      v1.Time{Time: epoch()},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint:   []string{Entrypoint},
			User:         User,
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{fmt.Sprintf("%d/tcp", Port): {}},
			Labels:       all,
		},
	}
}

// epoch is the time of everything in the image; a real one would change the
// digest with every build.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// content is what becomes a layer.
type content struct {
	comment string // shown by tools that list an image's history
	files   []file
}

// stack puts layers onto an image, the lowest first.
func stack(img v1.Image, contents ...content) (v1.Image, error) {
	for _, c := range contents {
		archive, err := pack(c.files)
		if err != nil {
			return nil, fmt.Errorf("image: layer %q: %w", c.comment, err)
		}
		layer, err := tarball.LayerFromOpener(archive,
			tarball.WithMediaType(types.OCILayer),
			tarball.WithCompressionLevel(gzip.DefaultCompression), // the best saves 0.4 % more in three times the time
			tarball.WithCompressedCaching)
		if err != nil {
			return nil, fmt.Errorf("image: layer %q: %w", c.comment, err)
		}
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:     plain{layer},
			MediaType: types.OCILayer,
			History:   v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: "sluice", Comment: c.comment},
		})
		if err != nil {
			return nil, fmt.Errorf("image: layer %q: %w", c.comment, err)
		}
	}
	return img, nil
}

// plain hides what a layer says of itself beyond v1.Layer: tarball's descriptor
// has an empty set of annotations, which the manifest's text does not have, and
// the two must be equal.
type plain struct{ v1.Layer }
