package image_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"sluice/infra/image"
	"sluice/shared/secret"
)

const password = "test-password"

// ecr is a registry with what is special about the bootstrap's repository: it
// wants Basic credentials, and a tag that exists is never written again.
type ecr struct {
	registry http.Handler
	puts     atomic.Int64 // manifests that were sent
	lose     atomic.Bool  // the answer to a manifest that was taken is lost
}

func newECR(t *testing.T) (*ecr, string) {
	t.Helper()
	e := &ecr{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return e, strings.TrimPrefix(server.URL, "http://") + "/assets"
}

func (e *ecr) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, given, _ := r.BasicAuth(); user != "AWS" || given != password {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, `{"errors":[{"code":"DENIED","message":"no"}]}`, http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
		e.registry.ServeHTTP(w, r)
		return
	}
	e.puts.Add(1)
	exists := httptest.NewRecorder()
	e.registry.ServeHTTP(exists, httptest.NewRequest(http.MethodHead, r.URL.Path, nil))
	switch {
	case exists.Code == http.StatusOK:
		http.Error(w, `{"errors":[{"code":"TAG_INVALID","message":"the tag exists and is immutable"}]}`, http.StatusBadRequest)
	case e.lose.Load():
		e.registry.ServeHTTP(httptest.NewRecorder(), r)
		http.Error(w, `{"errors":[{"code":"UNKNOWN","message":"lost"}]}`, http.StatusBadGateway)
	default:
		e.registry.ServeHTTP(w, r)
	}
}

func reference(t *testing.T, repository string, img v1.Image) string {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return repository + "@" + digest.String()
}

var auth = image.Auth{User: "AWS", Password: secret.New(password)}

// TestPush pushes, finds the image by digest and by tag, and pushes again.
func TestPush(t *testing.T) {
	stand, repository := newECR(t)
	img := small(t)
	ref := reference(t, repository, img)
	var progress strings.Builder
	for range 2 {
		if err := image.Push(context.Background(), img, ref, auth, &progress); err != nil {
			t.Fatal(err)
		}
	}
	if n := stand.puts.Load(); n != 1 {
		t.Errorf("%d manifests were sent, want 1", n)
	}
	text := strings.ReplaceAll(progress.String(), repository, "REGISTRY/assets")
	text = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(text, "DIGEST")
	golden(t, "push.txt", regexp.MustCompile(`\d+ KB`).ReplaceAllString(text, "N KB"))

	_, hex, _ := strings.Cut(ref, "@sha256:")
	for _, at := range []string{ref, repository + ":" + hex} {
		parsed, err := name.ParseReference(at)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := remote.Image(parsed, remote.WithTransport(signed{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(pulled); err != nil {
			t.Error(err)
		}
	}
}

// signed signs in without the code under test.
type signed struct{}

func (signed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth("AWS", password)
	return http.DefaultTransport.RoundTrip(r)
}

// TestPushLostAnswer: the registry takes the manifest, its answer is lost, and it
// refuses the same tag when the client asks again.
func TestPushLostAnswer(t *testing.T) {
	stand, repository := newECR(t)
	stand.lose.Store(true)
	img := small(t)
	if err := image.Push(context.Background(), img, reference(t, repository, img), auth, io.Discard); err != nil {
		t.Error(err)
	}
	if stand.puts.Load() == 0 {
		t.Error("no manifest was sent")
	}
}

func TestPushRefused(t *testing.T) {
	_, repository := newECR(t)
	img := small(t)
	good := reference(t, repository, img)
	for name, c := range map[string]struct {
		reference string
		password  string
		want      string
	}{
		"wrong password": {good, "wrong-password", "401"},
		"another image":  {repository + "@sha256:" + strings.Repeat("0", 64), password, "the reference is of sha256:000"},
		"a tag":          {repository + ":latest", password, "want registry/repository@sha256:"},
	} {
		t.Run(name, func(t *testing.T) {
			err := image.Push(context.Background(), img, c.reference, image.Auth{User: "AWS", Password: secret.New(c.password)}, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), c.password) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
