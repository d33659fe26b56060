package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/money"
	"sluice/shared/simulator"
	"sluice/shared/usage"
)

// stream begins a call whose answer the script slows down, and returns what is
// left of the answer once its first line has come.
func (p *process) stream(k key, script string) *bufio.Reader {
	p.t.Helper()
	res, err := p.send(http.MethodPost, "/v1/messages", k.Secret, prompt("claude-sonnet-4-5", 4000, true, "[[sim "+script+"]]"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = res.Body.Close() })
	rest := bufio.NewReader(res.Body)
	if line, err := rest.ReadString('\n'); err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("%d %s %v", res.StatusCode, line, err)
	}
	return rest
}

// drain interrupts the process and waits until it says that it is draining.
func (p *process) drain() {
	p.t.Helper()
	p.signal(os.Interrupt)
	eventually(p.t, "/readyz is 503", func() bool { return p.ready() == http.StatusServiceUnavailable })
}

// TestInterruptLetsAnswersFinish drains.
func TestInterruptLetsAnswersFinish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	vendor := p.vendor(simulator.Options{})
	k := p.newKey(money.Dollar)
	answer := p.stream(k, "output=200 delay=50ms")
	p.drain()
	if status, refused, err := p.exchange(http.MethodPost, "/v1/messages", k.Secret, prompt("claude-sonnet-4-5", 10, false, "Hi")); err != nil || status/100 != 5 {
		t.Errorf("a call while draining: %d %s %v", status, refused, err)
	}
	rest, err := io.ReadAll(answer)
	if err != nil || !strings.Contains(string(rest), "message_stop") {
		t.Errorf("the answer broke off: %v", err)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	again := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	b, records := again.settled(k)
	if len(records) != 1 || records[0].Outcome != usage.Complete || b.Total != billed(t, vendor) {
		t.Errorf("balance %+v, records %+v", b, records)
	}
}

// TestSecondInterruptStops cuts a call short, and still accounts for it.
func TestSecondInterruptStops(t *testing.T) {
	t.Parallel()
	const most = 6 * time.Second // the grace of 3 s and the store's end, on a busy machine
	dir := t.TempDir()
	p := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	p.vendor(simulator.Options{})
	k := p.newKey(money.Dollar)
	p.stream(k, "output=2000 stall=20")
	if b := p.balance(k); b.Open != 1 || b.Held == 0 {
		t.Errorf("balance while the answer runs: %+v", b)
	}
	p.drain()
	since := time.Now()
	p.signal(os.Interrupt)
	code := p.exit()
	took := time.Since(since)
	t.Logf("ended with %d after %s", code, took)
	if code == 0 || took > most {
		t.Errorf("ended with %d after %s", code, took)
	}

	again := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	b, records := again.settled(k)
	if len(records) != 1 || records[0].Code == "" || b.Total == 0 {
		t.Errorf("balance %+v, records %+v", b, records)
	}
	t.Logf("record: outcome %s, code %s, $%s", records[0].Outcome, records[0].Code, records[0].Cost)
}

// TestKillLosesAtMostASecond kills the process with the embedded store.
func TestKillLosesAtMostASecond(t *testing.T) {
	t.Parallel()
	const runFor, workers = 3 * time.Second, 4
	dir := t.TempDir()
	p := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	p.vendor(simulator.Options{})
	k := p.newKey(1000 * money.Dollar)

	var mu sync.Mutex
	var done []time.Time
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				status, answer, err := p.exchange(http.MethodPost, "/v1/messages", k.Secret, prompt("claude-haiku-4-5", 100, true, "Hi"))
				if err != nil { // it was killed
					return
				}
				if status != http.StatusOK {
					t.Errorf("%d %s", status, answer)
					return
				}
				mu.Lock()
				done = append(done, time.Now())
				mu.Unlock()
			}
		})
	}
	since := time.Now()
	eventually(t, "calls ran for a while", func() bool { return time.Since(since) > runFor })
	killed := time.Now()
	p.kill()
	running.Wait()
	safe := 0
	for _, at := range done {
		if at.Before(killed.Add(-time.Second)) {
			safe++
		}
	}

	again := start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken)
	records, b := again.records(k), again.balance(k)
	t.Logf("%d calls ended, %d of them a second before the kill; %d are in the ledger, %d open", len(done), safe, len(records), b.Open)
	if safe == 0 || len(records) < safe {
		t.Errorf("%d calls are in the ledger, %d ended more than a second before the kill", len(records), safe)
	}
	if sum := costOf(records); sum != b.Total {
		t.Errorf("the records sum up to $%s, the balance says $%s", sum, b.Total)
	}
	if b.Open > workers {
		t.Errorf("%d calls are open, %d were", b.Open, workers)
	}
}

// TestFirstStart prints what there is to know, and its secrets once.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "SLUICE_SIMULATOR=true")
	text := p.out.String()
	secret := regexp.MustCompile(`(?m)shown once\): +(\S+)$`).FindAllStringSubmatch(text, -1)
	if len(secret) != 2 || !strings.Contains(text, "curl -N "+p.url+"/v1/messages -H 'x-api-key: "+secret[1][1]+"'") {
		t.Fatalf("printed %s", text)
	}
	token, k := secret[0][1], key{Secret: secret[1][1]}
	body := regexp.MustCompile(`-d '(.*)'`).FindStringSubmatch(text)
	if body == nil {
		t.Fatalf("no body for curl in %s", text)
	}
	status, answer, err := p.exchange(http.MethodPost, "/v1/messages", k.Secret, body[1])
	if err != nil || status != http.StatusOK || !strings.Contains(string(answer), "message_stop") {
		t.Errorf("the printed call: %d %s %v", status, answer, err)
	}
	p.stop()

	again := start(t, dir, "SLUICE_SIMULATOR=true")
	for _, s := range []string{token, k.Secret, "shown once"} {
		if strings.Contains(again.out.String()+again.log.String(), s) || strings.Contains(p.log.String(), s) {
			t.Error("a secret was printed again, or logged")
		}
	}
	ask[any](again, http.MethodGet, "/admin/v1/keys", token, "")
	if b := again.balance(k); b.Total == 0 || b.Open != 0 {
		t.Errorf("balance after the restart: %+v", b)
	}
	ask[any](again, http.MethodPost, "/v1/messages", k.Secret, prompt("claude-haiku-4-5", 20, false, "Hi"))
}
