package emf_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/emf"
	"sluice/shared/fault"
)

// writes is a writer that notes each Write by itself.
type writes struct {
	mu   sync.Mutex
	got  []string
	fail error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, string(p))
	return len(p), w.fail
}

func fixed(v int64) func() int64 { return func() int64 { return v } }

func at() time.Time { return time.UnixMilli(1574109732004) }

func newEmitter(t testing.TB, w io.Writer, now func() time.Time, gauges ...emf.Gauge) *emf.Emitter {
	t.Helper()
	e, err := emf.New(w, "Sluice", `stream "er"`, now, gauges...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLine(t *testing.T) {
	var w writes
	e := newEmitter(t, &w, at,
		emf.Gauge{Name: "InFlightStreams", Unit: emf.Count, Read: fixed(0)},
		emf.Gauge{Name: "BodyBytes", Unit: emf.Bytes, Read: fixed(1<<62 + 1)})
	for range 2 { // the buffer is used again
		if err := e.Line(); err != nil {
			t.Fatal(err)
		}
	}
	line := `{"_aws":{"Timestamp":1574109732004,"CloudWatchMetrics":[{"Namespace":"Sluice","Dimensions":[["Service"]],` +
		`"Metrics":[{"Name":"InFlightStreams","Unit":"Count"},{"Name":"BodyBytes","Unit":"Bytes"}]}]},` +
		`"Service":"stream \"er\"","InFlightStreams":0,"BodyBytes":4611686018427387905}` + "\n"
	if diff := cmp.Diff([]string{line, line}, w.got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	meets(t, line)
}

// meets fails unless a line meets the schema of the format's specification.
func meets(t *testing.T, line string) {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal([]byte(line), &root); err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		AWS struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal([]byte(line), &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.AWS.Timestamp == 0 || len(parsed.AWS.CloudWatchMetrics) == 0 {
		t.Errorf("no time or no directive: %s", line)
	}
	for _, d := range parsed.AWS.CloudWatchMetrics {
		if n := len(d.Namespace); n < 1 || n > 255 || len(d.Dimensions) < 1 || len(d.Metrics) < 1 || len(d.Metrics) > 100 {
			t.Errorf("%+v", d)
		}
		for _, set := range d.Dimensions {
			for _, name := range set {
				if _, ok := root[name].(string); !ok {
					t.Errorf("the dimension %s is %v, want a string", name, root[name])
				}
			}
		}
		for _, m := range d.Metrics {
			if _, ok := root[m.Name].(float64); !ok || m.Unit != "Count" && m.Unit != "Bytes" {
				t.Errorf("the metric %+v is %v, want a number", m, root[m.Name])
			}
		}
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const periods, every = 5, time.Minute
		var w writes
		open := int64(0)
		e := newEmitter(t, &w, time.Now, emf.Gauge{Name: "Open", Unit: emf.Count, Read: func() int64 { open++; return open }})
		ctx, stop := context.WithTimeout(t.Context(), periods*every+every/2)
		defer stop()
		began := time.Now()
		if err := e.Run(ctx, every); err != nil {
			t.Error(err)
		}
		if len(w.got) != periods+1 {
			t.Fatalf("%d lines in %d periods and a half, want one each and a last one", len(w.got), periods)
		}
		for i, line := range w.got {
			var parsed struct {
				AWS  struct{ Timestamp int64 } `json:"_aws"`
				Open int
			}
			if err := json.Unmarshal([]byte(line), &parsed); err != nil {
				t.Fatal(err)
			}
			due := time.Duration(i+1) * every
			if i == periods {
				due -= every / 2
			}
			if parsed.Open != i+1 || parsed.AWS.Timestamp != began.Add(due).UnixMilli() {
				t.Errorf("line %d, want it at %s: %s", i, due, line)
			}
		}
	})
}

func TestRunOutlivesAFailedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writes{fail: io.ErrShortWrite}
		e := newEmitter(t, &w, time.Now, emf.Gauge{Name: "Open", Unit: emf.Count, Read: fixed(1)})
		ctx, stop := context.WithTimeout(t.Context(), 150*time.Second)
		defer stop()
		if err := e.Run(ctx, time.Minute); !errors.Is(err, io.ErrShortWrite) || len(w.got) != 3 {
			t.Errorf("%v after %d lines", err, len(w.got))
		}
	})
}

// TestLinesStayWhole writes figures and log lines to one file at once.
func TestLinesStayWhole(t *testing.T) {
	const each = 300
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(write, nil))
	e := newEmitter(t, write, at, emf.Gauge{Name: "Open", Unit: emf.Count, Read: fixed(0)})
	var running sync.WaitGroup
	running.Go(func() {
		for range each {
			log.Info(strings.Repeat("a line longer than a pipe takes at once ", 500))
		}
	})
	running.Go(func() {
		for range each {
			if err := e.Line(); err != nil {
				t.Error(err)
			}
		}
	})
	go func() {
		running.Wait()
		_ = write.Close()
	}()
	lines := bufio.NewScanner(read)
	lines.Buffer(nil, 1<<20)
	figures, total := 0, 0
	for lines.Scan() {
		total++
		if !json.Valid(lines.Bytes()) {
			t.Fatalf("a broken line: %.100q", lines.Bytes())
		}
		if bytes.HasPrefix(lines.Bytes(), []byte(`{"_aws"`)) {
			figures++
		}
	}
	if err := errors.Join(lines.Err(), read.Close()); err != nil || figures != each || total != 2*each {
		t.Errorf("%v: %d lines, %d of figures", err, total, figures)
	}
}

func TestNewRefuses(t *testing.T) {
	good := emf.Gauge{Name: "Open", Unit: emf.Count, Read: fixed(0)}
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		namespace, service string
		gauges             []emf.Gauge
		field              string
	}{
		"no namespace":   {"", "s", []emf.Gauge{good}, "namespace"},
		"long namespace": {long, "s", []emf.Gauge{good}, "namespace"},
		"no service":     {"n", "", []emf.Gauge{good}, "service"},
		"no gauge":       {"n", "s", nil, "gauges"},
		"too many":       {"n", "s", make([]emf.Gauge, 101), "gauges"},
		"twice":          {"n", "s", []emf.Gauge{good, good}, "gauges"},
		"no name":        {"n", "s", []emf.Gauge{{Unit: emf.Count}}, "gauges"},
		"quoted":         {"n", "s", []emf.Gauge{{Name: `a"`, Unit: emf.Count}}, "gauges"},
		"the dimension":  {"n", "s", []emf.Gauge{{Name: "Service", Unit: emf.Count}}, "gauges"},
		"the metadata":   {"n", "s", []emf.Gauge{{Name: "_aws", Unit: emf.Count}}, "gauges"},
		"unit":           {"n", "s", []emf.Gauge{{Name: "Open", Unit: "Streams"}}, "gauges"},
	} {
		if _, err := emf.New(io.Discard, c.namespace, c.service, at, c.gauges...); err == nil || fault.From(err).Field != c.field {
			t.Errorf("%s: %v, want a fault of %s", name, err, c.field)
		}
	}
}

func BenchmarkLine(b *testing.B) {
	e := newEmitter(b, io.Discard, at, emf.Gauge{Name: "Open", Unit: emf.Count, Read: fixed(7)})
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Line(); err != nil {
			b.Fatal(err)
		}
	}
}
