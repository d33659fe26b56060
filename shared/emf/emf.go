// Package emf tells CloudWatch figures of the process by writing them to its log:
// lines in the embedded metric format, which CloudWatch Logs reads out of what a
// task or function prints. No call, no credentials and no agent are needed.
//
// Each figure is a gauge that is read when its line is written. A figure of 0 is
// written as 0: an alarm or a scaling rule that averages over tasks must see the
// idle ones.
//
// A line is one Write. Where the same *os.File also takes the lines of log/slog,
// which writes a line at once too, neither breaks into the other.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
package emf

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"sluice/shared/fault"
)

// Unit is the unit of a figure, by the name that CloudWatch has for it.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
type Unit string

// The units.
const (
	Count Unit = "Count"
	Bytes Unit = "Bytes"
)

// Gauge is a figure as it is now.
type Gauge struct {
	Name string // of the metric
	Unit Unit
	Read func() int64 // quick, and safe for concurrent use
}

const (
	// metaMember and dimension are the names in a line that no metric may have.
	metaMember, dimension = "_aws", "Service"
	// maxName and maxGauges are limits of the format's schema.
	maxName, maxGauges = 255, 100
)

// Emitter writes the lines. Line and Run are for one goroutine at a time.
type Emitter struct {
	w      io.Writer
	now    func() time.Time
	gauges []Gauge
	// head is a line up to the digits of its time, tail what follows them up to the
	// first figure: they are the same in every line.
	head, tail []byte
	line       bytes.Buffer
}

// New is an Emitter of gauges to w: metrics of a namespace, with the dimension
// Service. It errs with fault.Invalid for what CloudWatch would not take.
func New(w io.Writer, namespace, service string, now func() time.Time, gauges ...Gauge) (*Emitter, error) {
	if err := check(namespace, service, gauges); err != nil {
		return nil, err
	}
	type metric struct {
		Name string
		Unit Unit
	}
	type directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []metric
	}
	d := directive{Namespace: namespace, Dimensions: [][]string{{dimension}}}
	for _, g := range gauges {
		d.Metrics = append(d.Metrics, metric{g.Name, g.Unit})
	}
	directives, err := json.Marshal([]directive{d})
	if err != nil {
		return nil, fmt.Errorf("emf: %w", err)
	}
	name, err := json.Marshal(service)
	if err != nil {
		return nil, fmt.Errorf("emf: %w", err)
	}
	return &Emitter{
		w: w, now: now, gauges: gauges,
		head: []byte(`{"` + metaMember + `":{"Timestamp":`),
		tail: fmt.Appendf(nil, `,"CloudWatchMetrics":%s},"%s":%s`, directives, dimension, name),
	}, nil
}

func check(namespace, service string, gauges []Gauge) error {
	if namespace == "" || len(namespace) > maxName {
		return fault.At("namespace", "%q is no namespace of metrics (want 1 to %d bytes)", namespace, maxName)
	}
	if service == "" || len(service) > maxName {
		return fault.At("service", "%q is no value of the dimension %s (want 1 to %d bytes)", service, dimension, maxName)
	}
	if len(gauges) == 0 || len(gauges) > maxGauges {
		return fault.At("gauges", "there are %d gauges (want 1 to %d)", len(gauges), maxGauges)
	}
	seen := make(map[string]bool)
	for _, g := range gauges {
		if !plain(g.Name) || g.Name == dimension || seen[g.Name] {
			return fault.At("gauges", "%q is no name for a gauge (want 1 to %d letters and digits, once, and not %s)", g.Name, maxName, dimension)
		}
		if g.Unit != Count && g.Unit != Bytes {
			return fault.At("gauges", "the unit of %s is %q (want %s or %s)", g.Name, g.Unit, Count, Bytes)
		}
		seen[g.Name] = true
	}
	return nil
}

// plain says whether a name can stand in JSON as it is.
func plain(name string) bool {
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Line writes the figures as they are now. It errs with what the writer says.
func (e *Emitter) Line() error {
	e.line.Reset()
	e.line.Write(e.head)
	e.line.Write(strconv.AppendInt(e.line.AvailableBuffer(), e.now().UnixMilli(), 10))
	e.line.Write(e.tail)
	for _, g := range e.gauges {
		e.line.WriteString(`,"` + g.Name + `":`)
		e.line.Write(strconv.AppendInt(e.line.AvailableBuffer(), g.Read(), 10))
	}
	e.line.WriteString("}\n")
	if _, err := e.w.Write(e.line.Bytes()); err != nil {
		return fmt.Errorf("emf: %w", err)
	}
	return nil
}

// Run writes a line each period until ctx ends, and then a last one: a process
// that stops shall not leave the figure of its last full minute behind. A line
// that cannot be written is lost, and the next one is tried all the same; Run
// returns the last such error.
func (e *Emitter) Run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed error
	for {
		select {
		case <-ctx.Done():
			if err := e.Line(); err != nil {
				failed = err
			}
			return failed
		case <-tick.C:
			if err := e.Line(); err != nil {
				failed = err
			}
		}
	}
}
