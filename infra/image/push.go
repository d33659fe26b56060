package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"sluice/shared/secret"
)

// Auth is how to sign in at a registry.
type Auth struct {
	User     string
	Password secret.Value
}

// Push puts an image where a reference by digest (see Reference) says, unless it
// is there already, and writes a line to progress for each step. It errs when the
// reference is of another image.
//
// The image gets its digest as tag too. Tags of the bootstrap's repository cannot
// be moved, and images without one expire (ImageTagMutability and LifecyclePolicy
// in bootstrap-template.yaml): this one always means the same and keeps it.
func Push(ctx context.Context, img v1.Image, reference string, auth Auth, progress io.Writer) error {
	want, err := name.NewDigest(reference, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("push: reference %q (want registry/repository@sha256:…): %w", reference, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("push: the image has no digest: %w", err)
	}
	if digest.String() != want.DigestStr() {
		return fmt.Errorf("push: the reference is of %s, the image is %s", want.DigestStr(), digest)
	}
	options := []remote.Option{
		remote.WithAuth(&authn.Basic{Username: auth.User, Password: auth.Password.Reveal()}),
		remote.WithUserAgent("sluice-deploy"),
	}
	p := upload{repository: want.Context(), img: img, tag: want.Tag(digest.Hex), options: options, progress: progress}
	if p.pusher, err = remote.NewPusher(options...); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	return p.run(ctx, digest)
}

// upload is a push under way.
type upload struct {
	repository name.Repository
	img        v1.Image
	tag        name.Tag
	pusher     *remote.Pusher
	options    []remote.Option
	progress   io.Writer
}

func (u *upload) run(ctx context.Context, digest v1.Hash) error {
	there, err := u.present(ctx, digest)
	if err != nil {
		return err
	}
	if there {
		return u.say("%s is already in %s", digest, u.repository)
	}
	if err := u.layers(ctx); err != nil {
		return err
	}
	if err := u.pusher.Push(ctx, u.tag, u.img); err != nil {
		// The registry may have taken it and its answer was lost; asked again, it
		// refuses a tag that exists. Only what is there tells.
		if there, again := u.present(ctx, digest); again != nil || !there {
			return fmt.Errorf("push: %s: %w", u.tag, errors.Join(err, again))
		}
	}
	return u.say("pushed %s to %s", digest, u.repository)
}

// layers uploads the layers that the registry does not have.
func (u *upload) layers(ctx context.Context) error {
	layers, err := u.img.Layers()
	if err != nil {
		return fmt.Errorf("push: layers: %w", err)
	}
	for i, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return fmt.Errorf("push: layer %d: %w", i+1, err)
		}
		if err := u.say("layer %d of %d, %d KB", i+1, len(layers), (size+1023)/1024); err != nil {
			return err
		}
		if err := u.pusher.Upload(ctx, u.repository, layer); err != nil {
			return fmt.Errorf("push: layer %d to %s: %w", i+1, u.repository, err)
		}
	}
	return nil
}

// present says whether the registry has the image, under its tag.
func (u *upload) present(ctx context.Context, digest v1.Hash) (bool, error) {
	found, err := remote.Head(u.tag, append(u.options, remote.WithContext(ctx))...)
	var refused *transport.Error
	switch {
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("push: asking %s for the image: %w", u.repository, err)
	case found.Digest != digest:
		return false, fmt.Errorf("push: %s is another image, %s", u.tag, found.Digest)
	}
	return true, nil
}

func (u *upload) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(u.progress, format+"\n", args...); err != nil {
		return fmt.Errorf("push: progress: %w", err)
	}
	return nil
}
