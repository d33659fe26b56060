package storetest

import (
	"bufio"
	"io"
	"net"
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
	quiet    bool
	banished map[string]bool     // users
	conns    map[net.Conn]string // open ones, with the user of a client that said so
	starving chan struct{}       // closed when replicas are fed again; nil = they are

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
	p := &Proxy{Addr: l.Addr().String(), target: target, conns: make(map[net.Conn]string), banished: make(map[string]bool), done: make(chan struct{})}
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

// Quiet stops the noting of commands, which would fill the memory in a long run.
func (p *Proxy) Quiet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
}

// Banish cuts the connections of clients that sign in as the user and refuses new
// ones, until it is called with false: the others still reach the server.
func (p *Proxy) Banish(user string, banished bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.banished[user] = banished
	for c, of := range p.conns {
		if banished && of == user {
			_ = c.Close() // its reader sees the end
		}
	}
}

// Starve keeps from replicas that are connected through the proxy what the server
// sends them, until it is called with false: then their connections are cut, and
// what was kept never arrives. What clients were told was written meanwhile is lost
// if the server dies before that.
func (p *Proxy) Starve(starve bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case starve && p.starving == nil:
		p.starving = make(chan struct{})
	case !starve && p.starving != nil:
		close(p.starving)
		p.starving = nil
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
		if err != nil || !p.admits(client, burst.user) || !p.hold() {
			return
		}
		if _, err := server.Write(burst.raw); err != nil {
			return
		}
		if burst.replica {
			p.feed(client, from, server)
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

// admits notes as whom a client signed in and says whether it may go on.
func (p *Proxy) admits(client net.Conn, user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if user != "" {
		p.conns[client] = user
	}
	return !p.banished[p.conns[client]]
}

// feed passes on what a replica and its server say to each other. That is no
// exchange of commands and replies: the server speaks when it has something new.
func (p *Proxy) feed(replica net.Conn, from io.Reader, server net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(server, from) // either side may end it
		_ = server.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || !p.fed() {
			break
		}
		if _, err := replica.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = replica.Close()
	wg.Wait()
}

// fed is false when the replica starved meanwhile, or the test ended.
func (p *Proxy) fed() bool {
	p.mu.Lock()
	starving := p.starving
	p.mu.Unlock()
	if starving == nil {
		return true
	}
	select {
	case <-starving:
	case <-p.done:
	}
	return false
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
	p.conns[c] = ""
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		_ = c.Close() // it may be closed already
	}
}

// burst is what a client sent before it waited for replies.
type burst struct {
	raw     []byte
	count   int
	user    string // that it signs in as; "" = it does not
	replica bool   // it is the start of a replication
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
		b.replica = b.replica || isReplica(cmd)
		if user := signedInAs(cmd); user != "" {
			b.user = user
		}
		b.raw = append(b.raw, raw...)
		b.count++
	}
	p.mu.Lock()
	p.waits++
	p.mu.Unlock()
	return b, lose, nil
}

// isReplica says whether only a replica sends the command.
func isReplica(cmd []string) bool {
	return len(cmd) > 0 && (cmd[0] == "replconf" || cmd[0] == "psync" || cmd[0] == "sync")
}

// signedInAs is the user of an AUTH with two arguments, or of a HELLO with AUTH.
func signedInAs(cmd []string) string {
	switch {
	case len(cmd) == 3 && cmd[0] == "auth":
		return cmd[1]
	case len(cmd) >= 5 && cmd[0] == "hello" && strings.EqualFold(cmd[2], "auth"):
		return cmd[3]
	}
	return ""
}

// loses notes a command and says whether its reply is to be lost.
func (p *Proxy) loses(cmd []string) bool {
	p.mu.Lock()
	if !p.quiet {
		p.commands = append(p.commands, cmd)
	}
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
