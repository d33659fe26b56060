package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/shared/admission"
	"sluice/shared/money"
	"sluice/shared/pricing"
	"sluice/shared/simulator"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

const (
	// adminToken is the admin token of every process that is given one.
	adminToken = "test-admin-token-0001"
	// patience is how long a test waits for what must happen.
	patience = 60 * time.Second
	// often is how often it looks.
	often = 10 * time.Millisecond
)

// binary is the path of the product, built for these tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-local")
	if err == nil {
		binary, err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	storetest.Main(m, func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary directory harms nothing
}

func build(dir string) (string, error) {
	path := filepath.Join(dir, "sluice")
	args := []string{"build", "-race", "-o", path}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=sluice/...")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
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

// process is a running product.
type process struct {
	t        *testing.T
	url      string
	dir      string // its data directory
	cmd      *exec.Cmd
	out, log transcript
	ended    chan struct{} // closed once it has ended
	client   *http.Client
}

// start starts the product with a data directory and settings, and waits until it
// is ready. It is killed when the test ends.
func start(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	addr := freeAddress(t)
	p := &process{t: t, url: "http://" + addr, dir: dir, ended: make(chan struct{})}
	transport := &http.Transport{MaxIdleConnsPerHost: 300}
	p.client = &http.Client{Transport: transport, Timeout: patience}
	p.cmd = exec.Command(binary)
	p.cmd.Env = append([]string{
		"SLUICE_LISTEN=" + addr, "SLUICE_METRICS_LISTEN=off", "SLUICE_DATA_DIR=" + dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}, settings...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit status is read from ProcessState
	}()
	t.Cleanup(func() {
		if t.Failed() && !p.over() {
			_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its stacks go to the log
			<-p.ended
		}
		p.kill()
		transport.CloseIdleConnections()
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Error("the process has a data race")
		}
		if t.Failed() {
			t.Logf("process %s wrote:\n%s%s", p.url, tail(p.out.String()), tail(p.log.String()))
		}
	})
	eventually(t, "the process is ready", func() bool {
		if p.over() {
			t.Fatalf("the process ended: %s", p.log.String())
		}
		return strings.Contains(p.out.String(), "Sluice is at ") && p.ready() == http.StatusOK
	})
	return p
}

func tail(s string) string {
	const most = 8 << 10
	return s[max(0, len(s)-most):]
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // only its number was wanted
	return l.Addr().String()
}

// kill ends the process as kill -9 does, if it has not ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // errs when it has ended
	<-p.ended
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// exit waits for the end of the process and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	eventually(p.t, "the process ended", p.over)
	return p.cmd.ProcessState.ExitCode()
}

// stop interrupts the process and expects it to end well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(os.Interrupt)
	if code := p.exit(); code != 0 {
		p.t.Fatalf("exit code %d after an interrupt", code)
	}
}

// ready is the status of /readyz on a connection of its own, 0 for none.
func (p *process) ready() int {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := c.Get(p.url + "/readyz")
	if err != nil {
		return 0
	}
	_ = res.Body.Close() // only the status is of interest
	return res.StatusCode
}

// eventually polls until ok, and fails the test when that takes too long.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(often)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// send sends a request with a key or the admin token; whoever gets the answer
// closes it.
func (p *process) send(method, path, token, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	return p.client.Do(r)
}

// exchange sends a request and reads the whole answer.
func (p *process) exchange(method, path, token, body string) (int, []byte, error) {
	res, err := p.send(method, path, token, body)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, errors.Join(err, res.Body.Close())
}

// ask expects a 2xx and reads its body into a T.
func ask[T any](p *process, method, path, token, body string) T {
	p.t.Helper()
	var v T
	status, answer, err := p.exchange(method, path, token, body)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%d %s", status, answer)
	}
	if err == nil {
		err = json.Unmarshal(answer, &v)
	}
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return v
}

// key is a key as the admin API shows it when it is made.
type key struct {
	ID     string `json:"id"`
	Secret string `json:"key"`
}

// newKey makes a key with a budget that never resets.
func (p *process) newKey(budget money.Nanos) key {
	p.t.Helper()
	body := fmt.Sprintf(`{"name": "test", "limits": {"budgets": [{"per": "total", "usd": "%s"}]}}`, budget)
	return ask[key](p, http.MethodPost, "/admin/v1/keys", adminToken, body)
}

// vendor starts a simulator that the process has an account at.
func (p *process) vendor(o simulator.Options) *simulator.Simulator {
	p.t.Helper()
	s := simulator.New(o)
	srv := httptest.NewServer(s)
	p.t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	ask[any](p, http.MethodPost, "/admin/v1/accounts", adminToken, fmt.Sprintf(`{"name": "test", "provider": "compatible",
		"base_url": %q, "private_network": true, "credential": {"type": "api_key", "secret": "test-key"}}`, srv.URL))
	return s
}

// balance is what the holder of the key is told.
func (p *process) balance(k key) admission.Balance {
	p.t.Helper()
	return ask[struct{ Balance admission.Balance }](p, http.MethodGet, "/v1/me", k.Secret, "").Balance
}

// records are those of the key in the ledger.
func (p *process) records(k key) []usage.Record {
	p.t.Helper()
	type page struct {
		Data []usage.Record `json:"data"`
		Next *string        `json:"next_cursor"`
	}
	var all []usage.Record
	for cursor := ""; ; {
		path := "/admin/v1/usage/records?limit=100&key=" + k.ID
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		got := ask[page](p, http.MethodGet, path, adminToken, "")
		all = append(all, got.Data...)
		if got.Next == nil {
			return all
		}
		cursor = *got.Next
	}
}

// settled waits until no call of the key is open, and returns its balance and
// records, which it expects to agree.
func (p *process) settled(k key) (admission.Balance, []usage.Record) {
	p.t.Helper()
	var b admission.Balance
	eventually(p.t, "every call is settled", func() bool {
		b = p.balance(k)
		return b.Open == 0
	})
	if b.Held != 0 {
		p.t.Errorf("$%s is held with no call open", b.Held)
	}
	records := p.records(k)
	if sum := costOf(records); sum != b.Total {
		p.t.Errorf("%d records sum up to $%s, the balance says $%s", len(records), sum, b.Total)
	}
	return b, records
}

func costOf(records []usage.Record) money.Nanos {
	var sum money.Nanos
	for i := range records {
		sum += records[i].Cost
	}
	return sum
}

// billed is what the vendor would charge for everything it served.
func billed(t *testing.T, s *simulator.Simulator) money.Nanos {
	t.Helper()
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	var sum money.Nanos
	for _, c := range s.Bill() {
		price, ok := prices.Price("compatible", c.Model, time.Now())
		if !ok {
			t.Fatalf("no price of %s", c.Model)
		}
		cost, unpriced := price.Cost(c.Usage)
		if unpriced {
			t.Errorf("%s: a part of the usage has no price", c.ID)
		}
		sum += cost
	}
	return sum
}

// errorType is the type in an error of Anthropic's shape.
func errorType(body []byte) string {
	var e struct{ Error struct{ Type string } }
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.Error.Type
}

// prompt is a call with one message.
func prompt(model string, most int, stream bool, text string) string {
	return fmt.Sprintf(`{"model": %q, "max_tokens": %d, "stream": %t, "messages": [{"role": "user", "content": %q}]}`, model, most, stream, text)
}
