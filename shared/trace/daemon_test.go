package trace_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-xray-sdk-go/v2/xray"
	"go.uber.org/goleak"

	"sluice/shared/trace"
)

const (
	name     = "sluice-test"
	patience = 10 * time.Second
	root     = "1-67891233-abcdef012345678912345678"
	parent   = "53995c3f42cd8ad8"
	sampled  = "Root=" + root + ";Sampled=1"
)

// segment is what a daemon reads of a segment or subsegment.
type segment struct {
	TraceID     string         `json:"trace_id"`
	ID          string         `json:"id"`
	ParentID    string         `json:"parent_id"`
	Type        string         `json:"type"`
	Name        string         `json:"name"`
	Start       float64        `json:"start_time"`
	End         float64        `json:"end_time"`
	InProgress  bool           `json:"in_progress"`
	Fault       bool           `json:"fault"`
	Error       bool           `json:"error"`
	Throttle    bool           `json:"throttle"`
	Cause       any            `json:"cause"`
	Annotations map[string]any `json:"annotations"`
	HTTP        struct {
		Request struct {
			Method    string `json:"method"`
			URL       string `json:"url"`
			UserAgent string `json:"user_agent"`
		} `json:"request"`
		Response struct {
			Status int `json:"status"`
		} `json:"response"`
	} `json:"http"`
	Subsegments []segment `json:"subsegments"`

	raw string
}

// daemon is a UDP listener in place of the X-Ray daemon.
type daemon struct {
	conn *net.UDPConn
	got  chan segment
}

func newDaemon(t testing.TB) *daemon {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{conn: conn, got: make(chan segment, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.read(t)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return d
}

func (d *daemon) read(t testing.TB) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := d.conn.Read(buffer)
		if err != nil {
			return // closed
		}
		document, ok := bytes.CutPrefix(buffer[:n], []byte(xray.Header))
		if !ok {
			t.Errorf("a datagram without its header: %.100q", buffer[:n])
			continue
		}
		s := segment{raw: string(document)}
		if err := json.Unmarshal(document, &s); err != nil {
			t.Errorf("a datagram that is no segment: %v: %.200q", err, document)
			continue
		}
		d.got <- s
	}
}

// next is the segment that comes next.
func (d *daemon) next(t testing.TB) segment {
	t.Helper()
	select {
	case s := <-d.got:
		return s
	case <-time.After(patience):
		t.Fatal("no segment came")
		return segment{}
	}
}

// bench is a server that is traced.
type bench struct {
	*daemon
	tracer *trace.Tracer
	server *httptest.Server
	log    *bytes.Buffer
}

// open starts a bench. When the test ends, every goroutine of it must be gone.
func open(t testing.TB, h http.HandlerFunc) *bench {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	b := &bench{daemon: newDaemon(t), log: new(bytes.Buffer)}
	b.tracer = newTracer(t, b.conn.LocalAddr().String(), b.log)
	b.server = httptest.NewServer(b.tracer.Handler(h))
	t.Cleanup(b.server.Close)
	return b
}

func newTracer(t testing.TB, daemon string, log *bytes.Buffer) *trace.Tracer {
	t.Helper()
	return made(t, trace.Options{Name: name, Daemon: daemon, Logger: slog.New(slog.NewJSONHandler(log, nil))})
}

func made(t testing.TB, o trace.Options) *trace.Tracer {
	t.Helper()
	tracer, err := trace.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tracer.Close(); err != nil {
			t.Error(err)
		}
	})
	return tracer
}

// get asks the server for a path with a trace header; the answer may be cut.
func (b *bench) get(t testing.TB, path, header string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amzn-Trace-Id", header)
	r.Header.Set("User-Agent", "test/1")
	res, err := b.server.Client().Do(r)
	if err == nil {
		err = res.Body.Close()
	}
	if err != nil && !strings.Contains(path, "abort") {
		t.Fatal(err)
	}
}
