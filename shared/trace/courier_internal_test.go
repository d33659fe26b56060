package trace

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/aws/aws-xray-sdk-go/v2/xray"
)

// TestTheWholeIsSentOnce emits as the SDK does when its Close and its watch of the
// context meet, which no test can bring about at will.
func TestTheWholeIsSentOnce(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := dial(conn.LocalAddr().String(), time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.conn.Close()
	c := courier{sender: s, whole: &xray.Segment{Name: "whole"}}
	c.Emit(c.whole)
	c.Emit(c.whole)
	s.send([]byte("last"))
	buffer := make([]byte, maxDocument)
	for n := range 2 {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if last := string(buffer[:got]) == xray.Header+"last"; last != (n == 1) {
			t.Errorf("datagram %d: %q", n, buffer[:got])
		}
	}
}
