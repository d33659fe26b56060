package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// adminToken is the admin token of the product.
	adminToken = "test-admin-token-0001"
	// patience is how long a test waits for the product to start.
	patience = 60 * time.Second
)

// binary is the path of the product, and shared is one that runs for all tests.
var (
	binary string
	shared *product
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-verify")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary directory harms nothing
	binary = filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "sluice/streamer/local").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if shared, err = start(filepath.Join(dir, "data")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.stop()
	return m.Run()
}

// transcript is what a process wrote so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// product is the real product, with a simulated vendor and an embedded store.
type product struct {
	url string
	cmd *exec.Cmd
	out transcript
}

var address = regexp.MustCompile(`Sluice is at (http://\S+)`)

// start starts the product on a free port and waits until it says where it is.
func start(dir string) (*product, error) {
	p := &product{cmd: exec.Command(binary)}
	p.cmd.Env = []string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_METRICS_LISTEN=off", "SLUICE_DATA_DIR=" + dir,
		"SLUICE_SIMULATOR=true", "SLUICE_ADMIN_TOKEN=" + adminToken,
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	deadline, tick := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		if found := address.FindStringSubmatch(p.out.String()); found != nil {
			p.url = found[1]
			return p, nil
		}
		select {
		case <-deadline:
			p.stop()
			return nil, fmt.Errorf("the product did not start:\n%s", p.out.String())
		case <-tick.C:
		}
	}
}

func (p *product) stop() {
	_ = p.cmd.Process.Kill() // errs when it has ended
	_ = p.cmd.Wait()         // it was killed, and says so
}

// keys are the names of all keys.
func (p *product) keys(t *testing.T) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.url+"/admin/v1/keys", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// front is a server in front of the product that behaves as flaw makes it.
func front(t *testing.T, p *product, flaw func(http.Handler) http.Handler, secure, http2 bool) *httptest.Server {
	t.Helper()
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	var h http.Handler = &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	if flaw != nil {
		h = flaw(h)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = http2
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// outcomes are findings by the name of their check.
type outcomes map[string]finding

// result is what the program did.
type result struct {
	code     int
	out      string
	errs     string
	findings outcomes
}

// execute runs the program.
func execute(ctx context.Context, t *testing.T, p program, args ...string) result {
	t.Helper()
	var out, errs transcript
	p.out, p.errs, p.every = &out, &errs, 20*time.Millisecond
	if p.in == nil {
		p.in = strings.NewReader("")
	}
	r := result{code: p.run(ctx, args), out: out.String(), errs: errs.String(), findings: make(outcomes)}
	for _, line := range strings.Split(r.out, "\n") {
		if len(line) > 28 && strings.HasPrefix(line, "  ") {
			r.findings[strings.TrimSpace(line[15:27])] = finding{outcome(strings.TrimSpace(line[2:15])), line[28:]}
		}
	}
	for _, s := range []string{adminToken, "sk-sluice-", "sluice-admin-"} {
		if strings.Contains(r.out+r.errs, s) {
			t.Errorf("a secret is printed (%s):\n%s%s", s, r.out, r.errs)
		}
	}
	return r
}

// rehearse runs a rehearsal against an endpoint.
func rehearse(ctx context.Context, t *testing.T, endpoint string, roots *x509.CertPool, args ...string) result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--endpoint", endpoint, "--admin-token-file", file, "--patience", "3s"}, args...)
	return execute(ctx, t, program{roots: roots}, args...)
}

// trust is the certificates of a server.
func trust(srv *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return pool
}
