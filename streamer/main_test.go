package main

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/cloud/cloudtest"
	"sluice/shared/usage"
)

// TestServes runs the streamer as Fargate does, on both kinds of store.
func TestServes(t *testing.T) {
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := deploy(t, cluster)
			p := start(t, d.task())
			d.account(p)
			k := newKey(p)
			whole := p.text(http.MethodPost, "/v1/messages", k.Secret, prompt(false, "Hello"))
			streamed := p.text(http.MethodPost, "/v1/messages", k.Secret, prompt(true, "[[sim output=40]]"))
			if !strings.Contains(whole, `"end_turn"`) || !strings.Contains(streamed, "event: message_stop") {
				t.Errorf("answers:\n%s\n%s", whole, streamed)
			}
			d.accounted(p, k)
			d.sealed(k)
			p.stop()
			silent(p, k.Secret)
		})
	}
}

// accounted holds the rows of the key's two calls against the vendor's bill.
func (d *deployment) accounted(p *process, k key) {
	d.t.Helper()
	got, bill := rows(p, k, 2), d.vendor.Bill()
	slices.SortFunc(got, func(a, b usage.Record) int { return a.At.Compare(b.At) })
	if len(bill) != 2 {
		d.t.Fatalf("%d charges, want 2", len(bill))
	}
	for i, r := range got {
		if diff := cmp.Diff(bill[i].Usage, r.Usage); diff != "" {
			d.t.Errorf("usage of call %d (-billed +recorded):\n%s", i, diff)
		}
		if r.Outcome != usage.Complete || r.Estimated || r.Unpriced || r.Cost <= 0 || r.Stream != (i == 1) || r.Key != k.ID {
			d.t.Errorf("row of call %d: %+v", i, r)
		}
	}
}

// sealed looks at what went to KMS and lies in S3 after an account and a key.
func (d *deployment) sealed(k key) {
	d.t.Helper()
	asked := map[string]int{}
	for _, r := range d.cloud.KMS.Requests() {
		asked[r.Action]++
		if !maps.Equal(r.EncryptionContext, map[string]string{"sluice": "data-key"}) || r.KeyID != cloudtest.Key {
			d.t.Errorf("asked of KMS: %+v", r)
		}
	}
	// One of each at the start; a data key for the credential and for each entry of
	// the log; and the credential is opened once, for all calls.
	if diff := cmp.Diff(map[string]int{"Encrypt": 4, "Decrypt": 2}, asked); diff != "" {
		d.t.Errorf("requests to KMS (-want +got):\n%s", diff)
	}
	want := []string{"config/000000000001.json", "config/000000000002.json"}
	if diff := cmp.Diff(want, d.cloud.S3.Keys()); diff != "" {
		d.t.Errorf("the config log (-want +got):\n%s", diff)
	}
	for _, name := range want {
		body := string(d.cloud.S3.Get(name).Body)
		if !strings.Contains(body, `"sealed"`) || strings.Contains(body, vendorKey) || strings.Contains(body, k.Secret) {
			d.t.Errorf("%s: %s", name, body)
		}
	}
}

// stream begins a call whose answer takes a while, and returns what is left of the
// answer once its first line has come.
func stream(p *process, k key) *bufio.Reader {
	p.t.Helper()
	res, err := p.send(http.MethodPost, "/v1/messages", k.Secret, prompt(true, "[[sim output=60 delay=25ms]]"))
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

// finish reads the rest of an answer, which ends well.
func finish(t *testing.T, answer io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(answer); err != nil || !strings.Contains(string(rest), "event: message_stop") {
		t.Errorf("the answer broke off: %v: %s", err, rest)
	}
}

// inFlight are the figures that the service is scaled by, as CloudWatch reads them
// from standard output.
func inFlight(p *process) (figures []float64) {
	p.t.Helper()
	for _, line := range p.out.lines(p.t) {
		figure, ok := line["InFlightStreams"].(float64)
		if line["_aws"] == nil || line["Service"] != "relay" || !ok {
			p.t.Fatalf("a line that is no metric: %v", line)
		}
		figures = append(figures, figure)
	}
	return figures
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := deploy(t, false)
	p := start(t, d.task())
	d.account(p)
	k := newKey(p)
	last := func(want float64) func() bool {
		return func() bool {
			figures := inFlight(p)
			return len(figures) > 0 && figures[len(figures)-1] == want
		}
	}
	eventually(t, "an idle process says 0", last(0))
	answer := stream(p, k)
	eventually(t, "a stream is counted", last(1))
	finish(t, answer)
	eventually(t, "a stream that ended is not", last(0))
	for i, figure := range inFlight(p) {
		if figure < 0 || figure > 1 {
			t.Errorf("line %d says %v with one stream", i, figure)
		}
	}
	before := len(inFlight(p))
	p.stop()
	if figures := inFlight(p); len(figures) <= before || !last(0)() {
		t.Errorf("the last figure of %d is not 0, or was not written at the end: %v", before, figures)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	const (
		root   = "1-67891233-abcdef012345678912345678"
		parent = "53995c3f42cd8ad8"
	)
	d := deploy(t, false)
	p := start(t, d.task())
	d.account(p)
	k := newKey(p)
	p.text(http.MethodPost, "/v1/messages", k.Secret, prompt(true, "Hello"), "X-Amzn-Trace-Id", "Root="+root+";Sampled=0")
	p.text(http.MethodPost, "/v1/messages", k.Secret, prompt(true, "Hello"), "X-Amzn-Trace-Id", "Root="+root+";Parent="+parent+";Sampled=1")
	eventually(t, "a segment", func() bool { return len(d.xray.segments()) > 0 })
	p.stop()
	got := d.xray.segments()
	if len(got) != 1 {
		t.Fatalf("%d segments for one call that is sampled: %+v", len(got), got)
	}
	s := got[0]
	if s.Name != "sluice" || s.TraceID != root || s.ParentID != parent || s.Annotations["key"] != k.ID || s.Annotations["outcome"] != string(usage.Complete) {
		t.Errorf("segment %+v", s)
	}
	if diff := cmp.Diff([]string{"locate", "accept", "admit", "acquire", "send", "stream", "settle"}, s.stages()); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
}

// TestStops ends a task while a stream runs.
func TestStops(t *testing.T) {
	t.Parallel()
	d := deploy(t, true)
	p := start(t, d.task())
	d.account(p)
	k := newKey(p)
	answer := stream(p, k)
	p.signal(syscall.SIGTERM)
	eventually(t, "/readyz is 503", func() bool { return p.ready() == http.StatusServiceUnavailable })
	if p.over() {
		t.Error("it ended before the stream")
	}
	finish(t, answer)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	again := start(t, d.task())
	if r := rows(again, k, 1)[0]; r.Outcome != usage.Complete || r.Estimated || !cmp.Equal(r.Usage, d.vendor.Bill()[0].Usage) {
		t.Errorf("row %+v", r)
	}
}

// TestTwoTasks has a second task beside the first: it knows the same keys, and the
// config log of both is one.
func TestTwoTasks(t *testing.T) {
	t.Parallel()
	d := deploy(t, true)
	a := start(t, d.task())
	d.account(a)
	k := newKey(a)
	b := start(t, d.task())
	a.text(http.MethodPost, "/v1/messages", k.Secret, prompt(false, "Hello"))
	b.text(http.MethodPost, "/v1/messages", k.Secret, prompt(false, "Hello"))
	for _, p := range []*process{b, a, b} {
		other := newKey(p)
		a.text(http.MethodPost, "/v1/messages", other.Secret, prompt(false, "Hello"))
	}
	rows(b, k, 2)
	var want []string
	for n := range 5 { // an account and four keys
		want = append(want, "config/00000000000"+string(rune('1'+n))+".json")
	}
	if diff := cmp.Diff(want, d.cloud.S3.Keys()); diff != "" {
		t.Errorf("the config log (-want +got):\n%s", diff)
	}
	a.stop()
	b.text(http.MethodPost, "/v1/messages", k.Secret, prompt(true, "Hello"))
	b.stop()
}
