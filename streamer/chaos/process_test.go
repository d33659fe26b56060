package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	adminToken = "test-admin-token-0001"
	patience   = 60 * time.Second // for what must happen
	often      = 20 * time.Millisecond
)

// build builds the product under the race detector.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "sluice")
	args := []string{"build", "-race", "-o", path}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=sluice/...")
	}
	if out, err := exec.Command("go", append(args, "sluice/streamer/local")...).CombinedOutput(); err != nil {
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

// process is a place in the fleet: whatever runs there is started again when it was
// killed, at the same address and with the same directory.
type process struct {
	t        *testing.T
	number   int
	addr     string
	dir      string
	settings []string
	wrapped  []string // a command before the binary; empty = none
	client   *http.Client
	log      *transcript

	up     atomic.Bool  // a balancer would send calls here
	flight atomic.Int64 // calls of clients that run here

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	kills []time.Time // when it was killed
	froze []time.Time // when it was frozen and when it went on, in turn
}

// start starts the product in its place and waits until it is ready.
func (p *process) start() {
	p.t.Helper()
	args := append(append([]string(nil), p.wrapped...), binary)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "SLUICE_LISTEN=" + p.addr, "SLUICE_METRICS_LISTEN=off", "SLUICE_DATA_DIR=" + p.dir,
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
	}, p.settings...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the exit status is read from ProcessState
	}()
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	eventually(p.t, patience, "the process is ready", func() bool {
		if p.over() {
			p.t.Fatalf("process %d ended: %s", p.number, tail(p.log.String()))
		}
		return p.ready() == http.StatusOK
	})
	p.up.Store(true)
}

// over says whether nothing runs in the place.
func (p *process) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	p.up.Store(false)
	p.mu.Lock()
	p.kills = append(p.kills, time.Now())
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // errs when it has ended
	<-ended
}

// killedWithin says whether it was killed while a call ran, or within a moment after
// its answer had ended: before it could settle.
func (p *process) killedWithin(from, to time.Time) bool {
	const moment = 3 * time.Second
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.kills {
		if !at.Before(from) && at.Before(to.Add(moment)) {
			return true
		}
	}
	return false
}

// freeze stops it without ending it; thaw lets it go on.
func (p *process) freeze() {
	p.t.Helper()
	p.up.Store(false)
	p.signal(syscall.SIGSTOP)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.froze = append(p.froze, time.Now())
}

func (p *process) thaw() {
	p.t.Helper()
	p.mu.Lock()
	frozen := len(p.froze)%2 == 1
	p.mu.Unlock()
	if !frozen {
		return
	}
	p.signal(syscall.SIGCONT)
	p.mu.Lock()
	p.froze = append(p.froze, time.Now())
	p.mu.Unlock()
	p.up.Store(true)
}

// frozenWithin says whether it was frozen while a call ran.
func (p *process) frozenWithin(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; i < len(p.froze); i += 2 {
		if p.froze[i].Before(to) && (i+1 == len(p.froze) || p.froze[i+1].After(from)) {
			return true
		}
	}
	return false
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// terminate asks it to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	p.up.Store(false)
	p.signal(syscall.SIGTERM)
	eventually(p.t, patience, "the process ended", p.over)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) ready() int {
	res, err := p.client.Get("http://" + p.addr + "/readyz")
	if err != nil {
		return 0
	}
	_ = res.Body.Close() // only the status is of interest
	return res.StatusCode
}

// ask is a request to the admin API; it expects a 2xx and reads its body into to.
func (p *process) ask(method, path, body string, to any) error {
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(r)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, answer)
	}
	if err == nil && to != nil {
		err = json.Unmarshal(answer, to)
	}
	return err
}

func tail(s string) string {
	const most = 6 << 10
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

// eventually polls until ok, and ends the test when that takes too long.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	if !poll(within, ok) {
		t.Fatalf("not within %s: %s", within, what)
	}
}

// poll looks until ok, and says whether it was so in time.
func poll(within time.Duration, ok func() bool) bool {
	deadline, tick := time.After(within), time.NewTicker(often)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}
