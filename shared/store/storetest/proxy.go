package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/secret"
	"sluice/shared/store"
)

// Proxy stands between a client and a redis-server. It counts the commands and
// the waits for them, and can lose a reply after the server has run the command.
type Proxy struct {
	Addr   string
	target string

	mu       sync.Mutex
	commands [][]string
	waits    int
	dropped  int
	drop     func(cmd []string) bool
	delay    time.Duration
	down     bool
	conns    map[net.Conn]bool

	asking sync.Mutex    // held while drop is asked, so that it is asked one at a time
	done   chan struct{} // closed when the test ends
}

// NewProxy is a proxy before the server at target, closed when the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, conns: make(map[net.Conn]bool), done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		close(p.done)
		_ = l.Close() // ends Accept, which says so
		p.Down(true)
		wg.Wait()
	})
	return p
}

// Client is a guarded client through the proxy, closed when the test ends.
func (p *Proxy) Client(t testing.TB) *store.Client {
	t.Helper()
	return Open(t, store.Options{URL: p.URL()})
}

// URL is where to connect.
func (p *Proxy) URL() secret.Value { return secret.New("redis://" + p.Addr) }

// DropReply makes the proxy close the connection instead of delivering the reply
// to a command that f selects. f is asked about each command, in lower-case name.
func (p *Proxy) DropReply(f func(cmd []string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = f
}

// Delay holds back every burst of commands for so long before it is delivered.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Down cuts every connection and refuses new ones, until it is called with false.
func (p *Proxy) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close() // its reader sees the end
		}
	}
}

// Reset forgets what was counted.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands, p.waits, p.dropped = nil, 0, 0
}

// Commands are the commands that came since Reset.
func (p *Proxy) Commands() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]string(nil), p.commands...)
}

// Waits is how often a client waited: commands sent together, of up to 64 KB, count
// once.
func (p *Proxy) Waits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waits
}

// Dropped is how many replies were lost.
func (p *Proxy) Dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

func (p *Proxy) serve(client net.Conn) {
	defer p.track(client)()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.track(server)()
	const longestBurst = 64 << 10
	from, to := bufio.NewReaderSize(client, longestBurst), bufio.NewReader(server)
	for {
		burst, lose, err := p.burst(from)
		if err != nil {
			return
		}
		if !p.hold() {
			return
		}
		if _, err := server.Write(burst.raw); err != nil {
			return
		}
		for i := range burst.count {
			reply, err := readReply(to)
			if err != nil || lose == i {
				return
			}
			if _, err := client.Write(reply); err != nil {
				return
			}
		}
	}
}

// hold waits for the delay; false when the test ended meanwhile.
func (p *Proxy) hold() bool {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.done:
		return false
	}
}

// track notes an open connection; the func it returns closes it.
func (p *Proxy) track(c net.Conn) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		_ = c.Close() // refused
	}
	p.conns[c] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		_ = c.Close() // it may be closed already
	}
}

// burst is what a client sent before it waited for replies.
type burst struct {
	raw   []byte
	count int
}

// burst reads the commands that were sent together, and says which reply to lose
// (-1 = none).
func (p *Proxy) burst(from *bufio.Reader) (b burst, lose int, err error) {
	lose = -1
	for b.count == 0 || from.Buffered() > 0 {
		cmd, raw, err := readCommand(from)
		if err != nil {
			return b, lose, err
		}
		if p.loses(cmd) && lose < 0 {
			lose = b.count
		}
		b.raw = append(b.raw, raw...)
		b.count++
	}
	p.mu.Lock()
	p.waits++
	p.mu.Unlock()
	return b, lose, nil
}

// loses notes a command and says whether its reply is to be lost.
func (p *Proxy) loses(cmd []string) bool {
	p.mu.Lock()
	p.commands = append(p.commands, cmd)
	drop := p.drop
	p.mu.Unlock()
	if drop == nil {
		return false
	}
	p.asking.Lock()
	lost := drop(cmd)
	p.asking.Unlock()
	if !lost {
		return false
	}
	p.mu.Lock()
	p.dropped++
	p.mu.Unlock()
	return true
}

func readCommand(r *bufio.Reader) (cmd []string, raw []byte, err error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, nil, err
	}
	n, err := count(head, '*')
	if err != nil {
		return nil, nil, err
	}
	raw = append(raw, head...)
	for range n {
		part, err := readReply(r)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, part...)
		_, text, _ := strings.Cut(string(part), "\r\n")
		cmd = append(cmd, strings.TrimSuffix(text, "\r\n"))
	}
	if len(cmd) > 0 {
		cmd[0] = strings.ToLower(cmd[0])
	}
	return cmd, raw, nil
}

// readReply reads one RESP value, nested ones included.
func readReply(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	raw := []byte(line)
	var nested int
	switch line[0] {
	case '$', '=', '!':
		n, err := count(line, line[0])
		if err != nil || n < 0 {
			return raw, err
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, err
		}
		return append(raw, body...), nil
	case '*', '~', '>':
		nested, err = count(line, line[0])
	case '%', '|':
		nested, err = count(line, line[0])
		nested *= 2
	}
	if err != nil {
		return nil, err
	}
	for range max(nested, 0) {
		part, err := readReply(r)
		if err != nil {
			return nil, err
		}
		raw = append(raw, part...)
	}
	return raw, nil
}

func count(line string, kind byte) (int, error) {
	if line == "" || line[0] != kind {
		return 0, fmt.Errorf("storetest: %q does not begin with %c", line, kind)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return 0, errors.New("storetest: not a RESP length: " + line)
	}
	return n, nil
}
