package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"sluice/infra/image"
	"sluice/shared/secret"
)

// streamer is the smallest thing that passes for a static arm64 executable.
func streamer(t *testing.T) string {
	t.Helper()
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	var body bytes.Buffer
	header := elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1, Ehsize: 64}
	if err := binary.Write(&body, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "streamer")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newRegistry is a registry that wants the password that ECR gave.
func newRegistry(t *testing.T) string {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, _ := r.BasicAuth(); user != "AWS" || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestPush(t *testing.T) {
	path := streamer(t)
	for name, c := range map[string]struct {
		code  int
		set   func(*stand)
		asked []string
	}{
		"push-role": {0, func(*stand) {}, []string{"GetCallerIdentity by test-key", "AssumeRole by test-key", "GetAuthorizationToken by role-key"}},
		"push-own": {0, func(s *stand) { s.refuse["AssumeRole by test-key"] = true },
			[]string{"GetCallerIdentity by test-key", "AssumeRole by test-key", "GetAuthorizationToken by test-key"}},
		"push-refused": {1, func(s *stand) {
			s.refuse["AssumeRole by test-key"], s.refuse["GetAuthorizationToken by test-key"] = true, true
		}, []string{"GetCallerIdentity by test-key", "AssumeRole by test-key", "GetAuthorizationToken by test-key"}},
		"push-nobody":       {1, func(s *stand) { s.refuse["GetCallerIdentity by test-key"] = true }, []string{"GetCallerIdentity by test-key"}},
		"push-bad-token":    {1, func(s *stand) { s.token = "no base64" }, nil},
		"push-bad-password": {1, func(s *stand) { s.token = base64.StdEncoding.EncodeToString([]byte("AWS:another")) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, host := newStand(t), newRegistry(t)
			c.set(s)
			p := newTool(t, s)
			p.reference = func(account, region, qualifier, digest string) string {
				_, repository, _ := strings.Cut(image.Reference(account, region, qualifier, digest), "/")
				return host + "/" + repository
			}
			p.tool.out = &mask{w: &p.out, host: host}
			p.tool.err = &mask{w: &p.err, host: host}
			p.do(t, name, c.code, "push", "--binary", path)
			if c.asked != nil && !slices.Equal(s.asked, c.asked) {
				t.Errorf("asked %q, want %q", s.asked, c.asked)
			}
		})
	}
}

// mask hides what differs from run to run.
type mask struct {
	w    io.Writer
	host string
}

func (m *mask) Write(b []byte) (int, error) {
	text := strings.ReplaceAll(string(b), m.host, "REGISTRY")
	text = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(text, "DIGEST")
	text = regexp.MustCompile(`\d+ KB`).ReplaceAllString(text, "N KB")
	if _, err := io.WriteString(m.w, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

func TestPushNeeds(t *testing.T) {
	s := newStand(t)
	p := newTool(t, s)
	p.do(t, "push-no-binary", 1, "push", "--binary", "missing")
	p = newTool(t, s)
	p.aws = func(context.Context, string) (*session, error) { return s.session("", nil), nil }
	p.do(t, "push-no-region", 2, "push", "--binary", streamer(t))
	if len(s.asked) > 0 {
		t.Errorf("AWS was asked: %q", s.asked)
	}
}

// FuzzReadToken: a token is read or refused, and an error tells nothing of it.
func FuzzReadToken(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString([]byte("AWS:" + password)))
	f.Add(base64.StdEncoding.EncodeToString([]byte("AWS:")))
	f.Add("AWS:plain")
	f.Fuzz(func(t *testing.T, token string) {
		auth, err := readToken(secret.New(token))
		if err != nil {
			if len(token) > 8 && strings.Contains(err.Error(), token) {
				t.Errorf("%v tells the token", err)
			}
			return
		}
		text, err := base64.StdEncoding.DecodeString(token)
		if err != nil || string(text) != auth.User+":"+auth.Password.Reveal() || auth.User == "" || auth.Password.Empty() {
			t.Errorf("%q was read as %q and a password", token, auth.User)
		}
	})
}
