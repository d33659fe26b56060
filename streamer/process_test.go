package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/shared/store/storetest"
)

const (
	// patience is how long a test waits for what must happen.
	patience = 30 * time.Second
	// often is how often it looks.
	often = 10 * time.Millisecond
)

// binary is the path of the streamer, built for these tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-streamer")
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
	path := filepath.Join(dir, "streamer")
	args := []string{"build", "-race", "-o", path}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=sluice/...")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// transcript is what a process wrote so far, which is lines.
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

// lines are the lines that are whole, each of them an object of JSON.
func (w *transcript) lines(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(w.String()) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("a line that is no object of JSON: %v: %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// process is a running streamer.
type process struct {
	t        *testing.T
	dir      string // that it runs in
	cmd      *exec.Cmd
	out, log transcript
	ended    chan struct{} // closed once it has ended

	url    string
	client *http.Client
}

// launch starts the binary in an empty directory, as a container does whose file
// system is read-only: nothing may be written there. It is killed when the test
// ends.
func launch(t *testing.T, env []string) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir(), ended: make(chan struct{}), client: &http.Client{Timeout: patience}}
	if err := os.Chmod(p.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(binary)
	p.cmd.Dir = p.dir
	p.cmd.Env = append([]string{"HOME=" + p.dir, "TMPDIR=" + p.dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit status is read from ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		p.client.CloseIdleConnections()
		p.wroteNothing()
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Error("the process has a data race")
		}
		if t.Failed() {
			t.Logf("the process wrote:\n%s%s", tail(p.out.String()), tail(p.log.String()))
		}
	})
	return p
}

// wroteNothing looks for files: root writes into directories that forbid it.
func (p *process) wroteNothing() {
	p.t.Helper()
	files, err := os.ReadDir(p.dir)
	if err != nil || len(files) > 0 {
		p.t.Errorf("the process left files behind: %v, %v", files, err)
	}
}

func tail(s string) string {
	const most = 8 << 10
	return s[max(0, len(s)-most):]
}

// start is launch, and waits until the process is ready.
func start(t *testing.T, env []string) *process {
	t.Helper()
	p := launch(t, env)
	eventually(t, "the process listens", func() bool {
		if p.over() {
			t.Fatalf("the process ended: %s", p.log.String())
		}
		for _, line := range p.log.lines(t) {
			if address, ok := line["address"].(string); ok && line["msg"] == "listening" {
				p.url = "http://" + address
			}
		}
		return p.url != ""
	})
	if status := p.ready(); status != http.StatusOK {
		t.Fatalf("/readyz is %d once it listens", status)
	}
	return p
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

// stop ends the process as ECS does, and expects it to end well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		p.t.Fatalf("exit code %d after SIGTERM", code)
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
// closes it. Headers are pairs.
func (p *process) send(method, path, token, body string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return p.client.Do(r)
}

// text expects a 2xx and is its body.
func (p *process) text(method, path, token, body string, header ...string) string {
	p.t.Helper()
	res, err := p.send(method, path, token, body, header...)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	answer, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%d %s", res.StatusCode, answer)
	}
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return string(answer)
}

// ask reads the body of a 2xx into a T.
func ask[T any](p *process, method, path, token, body string) T {
	p.t.Helper()
	var v T
	if err := json.Unmarshal([]byte(p.text(method, path, token, body)), &v); err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return v
}
