package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/money"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
	"sluice/streamer/relay"
)

const short = 50 * time.Millisecond

// TestStreamOnTheWire counts what a call costs in the store. The first
// call also loads the scripts and the accounts.
func TestStreamOnTheWire(t *testing.T) {
	proxy := storetest.NewProxy(t, storetest.Single(t).Addr)
	b := open(t, setup{client: proxy.Client(t)}, streams(frames()))
	count := func(name, secret string, commands, waits int) {
		t.Helper()
		proxy.Reset()
		status, _, answer := b.call(t, streamed(), func(r *http.Request) { r.Header.Set("X-Api-Key", secret) })
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
		b.idle(t)
		var sent []string
		for _, c := range proxy.Commands() {
			sent = append(sent, c[0])
		}
		t.Logf("%s: %v in %d waits", name, sent, proxy.Waits())
		if len(sent) > commands || proxy.Waits() > waits {
			t.Errorf("%s: %d commands and %d waits, want at most %d and %d: %v", name, len(sent), proxy.Waits(), commands, waits, sent)
		}
	}
	count("first", clientKey, 50, 50) // loads the scripts and the accounts
	count("warm", clientKey, 4, 3)
	second := b.newKey(t, "test-key-2", 0)
	count("cold key", "test-key-2", 5, 4)
	count("warm again", "test-key-2", 4, 3)
	for _, key := range []string{b.key.ID, second.ID} {
		page, err := b.records.Usage().Records(t.Context(), usage.Query{Key: key})
		if err != nil || len(page.Records) != 2 {
			t.Errorf("%d records: %v", len(page.Records), err)
		}
	}
	b.settled(t)
}

func TestClientAbortsAtEveryFrame(t *testing.T) {
	all := frames()
	for n := range len(all) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			reached := make(chan struct{})
			arrives := func(http.ResponseWriter, *http.Request) { close(reached) }
			b := open(t, setup{limits: relay.Limits{Drain: short}}, func(w http.ResponseWriter, r *http.Request) {
				if n == 0 {
					arrives(w, r)
					hangs(w, r)
					return
				}
				streams(all[:n], arrives, hangs)(w, r)
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if n == 0 {
				go func() { <-reached; cancel() }()
			}
			res, err := b.http.Do(b.request(ctx, t, streamed(), nil))
			if (err != nil) != (n == 0) {
				t.Fatal(err)
			}
			if err == nil {
				want := strings.Join(all[:n], "")
				got := make([]byte, len(want))
				if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
					t.Errorf("%v: %q", err, got)
				}
				cancel()
				_ = res.Body.Close() // cancelled
			}
			outcome := usage.Aborted
			if n == len(all) {
				outcome = usage.Complete
			}
			if row := b.one(t, outcome); outcome == usage.Aborted && !row.Estimated {
				t.Errorf("%+v", row)
			}
		})
	}
}

func TestUpstreamCutsAtEveryFrame(t *testing.T) {
	all := frames()
	for n := range len(all) + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := open(t, setup{}, streams(all[:n], cuts))
			status, _, answer := b.call(t, streamed(), nil)
			switch {
			case n == 0:
				if status != http.StatusBadGateway {
					t.Errorf("status %d", status)
				}
				wantError(t, answer, "api_error")
				b.one(t, usage.Cut)
			case n == len(all):
				if string(answer) != strings.Join(all, "") {
					t.Errorf("%q", answer)
				}
				b.one(t, usage.Complete)
			default:
				if !bytes.HasPrefix(answer, []byte(strings.Join(all[:n], ""))) {
					t.Errorf("%q", answer)
				}
				wantEvent(t, answer, "api_error")
				b.one(t, usage.Cut)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	all := frames()
	whole := strings.Join(all, "")
	overloaded := event("error", vendorError("overloaded_error", "Overloaded"))
	big := append(append(all[:4:4], delta(strings.Repeat("x", 1<<20))), all[5:]...)
	split := append(append(all[:4:4], delta("grüße 世界")), all[5:]...)
	budget := append(append(all[:4:4], delta(strings.Repeat("word ", 20_000))), all[5:]...)
	for name, c := range map[string]struct {
		setup   setup
		script  []http.HandlerFunc
		body    []byte
		outcome usage.Outcome
		status  int
		kind    string // of the error event, or of the error when the status is one
		want    string // the whole answer
		account int
	}{
		"error first": {
			setup: setup{bases: []string{"", ""}}, script: []http.HandlerFunc{streams([]string{overloaded}), streams(all)},
			outcome: usage.Complete, status: 200, want: whole, account: 1,
		},
		"error first, no other account": {script: []http.HandlerFunc{streams([]string{overloaded})}, outcome: usage.Failed, status: 529, kind: "overloaded_error"},
		"error later":                   {script: []http.HandlerFunc{streams([]string{all[0], overloaded})}, outcome: usage.Cut, status: 200, kind: "overloaded_error"},
		"frame of 1 MB":                 {script: []http.HandlerFunc{streams(big)}, outcome: usage.Complete, status: 200, want: strings.Join(big, "")},
		"UTF-8 split":                   {script: []http.HandlerFunc{streams(bytewise(split))}, outcome: usage.Complete, status: 200, want: strings.Join(split, "")},
		"CRLF":                          {script: []http.HandlerFunc{streams([]string{crlf(whole)})}, outcome: usage.Complete, status: 200, want: crlf(whole)},
		"silent before the headers":     {setup: setup{limits: relay.Limits{Idle: short}}, script: []http.HandlerFunc{hangs}, outcome: usage.Cut, status: 504, kind: "timeout_error"},
		"silent before the first frame": {setup: setup{limits: relay.Limits{Idle: short}}, script: []http.HandlerFunc{streams(nil, hangs)}, outcome: usage.Cut, status: 504, kind: "timeout_error"},
		"silent later":                  {setup: setup{limits: relay.Limits{Idle: short}}, script: []http.HandlerFunc{streams(all[:3], hangs)}, outcome: usage.Cut, status: 200, kind: "timeout_error"},
		"too long":                      {setup: setup{limits: relay.Limits{Stream: 2 * short}}, script: []http.HandlerFunc{streams(all[:3], hangs)}, outcome: usage.Cut, status: 200, kind: "timeout_error"},
		"ping, then failure": {
			setup:  setup{limits: relay.Limits{Ping: short / 2, Idle: 4 * short}},
			script: []http.HandlerFunc{hangs}, outcome: usage.Cut, status: 200, kind: "timeout_error",
		},
		"budget exhausted": {
			setup: setup{budget: money.Dollar / 25}, body: []byte(strings.Replace(string(streamed()), `"max_tokens":100`, `"max_tokens":60000`, 1)),
			script: []http.HandlerFunc{streams(budget)}, outcome: usage.Cut, status: 200, kind: "billing_error",
		},
		"connection refused": {setup: setup{bases: []string{closed(t), ""}}, script: []http.HandlerFunc{streams(all)}, outcome: usage.Complete, status: 200, want: whole, account: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, c.setup, c.script...)
			body := c.body
			if body == nil {
				body = streamed()
			}
			status, _, answer := b.call(t, body, nil)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			switch {
			case c.kind != "" && status == http.StatusOK:
				wantEvent(t, answer, c.kind)
			case c.kind != "":
				wantError(t, answer, c.kind)
			case string(answer) != c.want:
				t.Errorf("got %d bytes %.300q, want %d", len(answer), answer, len(c.want))
			}
			if row := b.one(t, c.outcome); row.Account != b.accounts[c.account].ID {
				t.Errorf("served by %s after %d attempts", row.Account, row.Attempts)
			}
		})
	}
}

// TestSlowReader has a client that reads nothing of an answer that no buffer on
// the way can hold.
func TestSlowReader(t *testing.T) {
	const pieces = 64
	all := frames()
	answer := all[:4:4]
	for range pieces {
		answer = append(answer, delta(strings.Repeat("x", 1<<20)))
	}
	b := open(t, setup{limits: relay.Limits{Stall: 4 * short, Drain: short}}, streams(append(answer, all[5:]...)))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := b.http.Do(b.request(ctx, t, streamed(), nil))
	if err != nil {
		t.Fatal(err)
	}
	rows := b.settled(t) // while the client holds the connection
	_ = res.Body.Close() // nobody wants the rest
	if len(rows) != 1 || rows[0].Outcome != usage.Aborted && rows[0].Outcome != usage.Complete {
		t.Errorf("%+v", rows)
	}
}

// closed is the URL of a port where nobody listens.
func closed(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	return "http://" + l.Addr().String()
}

func bytewise(pieces []string) []string {
	whole := strings.Join(pieces, "")
	single := make([]string, len(whole))
	for i := range single {
		single[i] = whole[i : i+1] // splits within characters
	}
	return single
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
