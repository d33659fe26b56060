package trace

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-xray-sdk-go/v2/xray"

	"sluice/shared/fault"
)

const (
	// quiet is the least time between two lines of the log about lost traces.
	quiet = time.Minute
	// maxDocument is what the daemon takes.
	// https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
	maxDocument = 64 << 10
)

// sender writes documents to the daemon, a datagram each.
type sender struct {
	conn *net.UDPConn
	now  func() time.Time
	log  *slog.Logger

	mu   sync.Mutex
	told time.Time // when the last line was written
	lost int       // since then
}

// dial is a sender to an address; that a daemon listens there is not asked.
func dial(address string, now func() time.Time, log *slog.Logger) (*sender, error) {
	target, err := net.ResolveUDPAddr("udp", udpOf(address))
	if err != nil || target.Port == 0 {
		return nil, fault.At("daemon", "%q is no address of an X-Ray daemon (want e.g. %s)", address, defaultDaemon)
	}
	conn, err := net.DialUDP("udp", nil, target)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the X-Ray daemon at %s cannot be reached from here", address)
	}
	return &sender{conn: conn, now: now, log: log}, nil
}

// udpOf is the address for segments in a setting that may name two, as in
// "tcp:127.0.0.1:2000 udp:127.0.0.1:2001"; the other one is for sampling rules.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-go-configuration.html
func udpOf(setting string) string {
	for form := range strings.FieldsSeq(setting) {
		if address, ok := strings.CutPrefix(form, "udp:"); ok {
			return address
		}
	}
	return setting
}

// send sends a document. What is not taken is lost; a line of the log says so,
// once a minute at most.
func (s *sender) send(document []byte) {
	err := error(nil)
	if len(document) > maxDocument {
		err = fmt.Errorf("trace: a segment of %d bytes is larger than %d", len(document), maxDocument)
	} else {
		_, err = s.conn.Write(append([]byte(xray.Header), document...))
	}
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost++
	if now := s.now(); s.told.IsZero() || now.Sub(s.told) >= quiet {
		s.log.Warn("traces are lost: the X-Ray daemon does not take them", "lost", s.lost, "error", err)
		s.told, s.lost = now, 0
	}
}

// courier takes what the SDK would have a daemon get. A stage is kept for its
// parent to embed, so that a request is one datagram; the whole is sent once.
type courier struct {
	sender *sender
	whole  *xray.Segment
	stage  json.RawMessage // of the stage that ended last
	sent   bool
}

// Emit implements xray.Emitter. The SDK holds the lock of seg. It emits a segment
// twice when its Close and its watch of the context, which Close ends, meet.
func (c *courier) Emit(seg *xray.Segment) {
	if seg != c.whole {
		seg.TraceID, seg.ParentID, seg.Type = "", "", "" // only what stands alone has these
		c.stage = c.marshal(seg)
		return
	}
	if c.sent {
		return
	}
	c.sent = true
	if document := c.marshal(seg); document != nil {
		c.sender.send(document)
	}
}

// RefreshEmitterWithAddress implements xray.Emitter; the address is not the SDK's
// to change.
func (c *courier) RefreshEmitterWithAddress(*net.UDPAddr) {}

func (c *courier) marshal(seg *xray.Segment) json.RawMessage {
	document, err := json.Marshal(seg)
	if err != nil { // a segment holds nothing here that cannot be marshalled
		c.sender.log.Error("a trace is lost", "error", err)
		return nil
	}
	return document
}
