package egress

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/secret"
)

// get asks for a URL through a way out and returns the body.
func get(t *testing.T, tr *Transports, e Egress, url string) (string, error) {
	t.Helper()
	c, err := tr.Client(e)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s %s", res.StatusCode, res.Proto, b), nil
}

// vendor is an HTTPS server that speaks HTTP/2, and the certificates that trust it.
func vendor(t *testing.T) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = fmt.Fprintf(w, "hello %s", r.Header.Get("Accept-Encoding"))
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv, pool
}

func transports(t *testing.T, roots *x509.CertPool) *Transports {
	t.Helper()
	tr := New(Options{Roots: roots, Connect: 5 * time.Second})
	t.Cleanup(tr.CloseIdle)
	return tr
}

func TestDirect(t *testing.T) {
	srv, roots := vendor(t)
	tr := transports(t, roots)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // is not looked at
	if got, err := get(t, tr, Egress{Private: true}, srv.URL); err != nil || got != "200 HTTP/2.0 hello " {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get(t, tr, Egress{Private: true}, srv.URL+"/moved"); err != nil || !strings.HasPrefix(got, "302 ") {
		t.Errorf("a redirect was followed: %q, %v", got, err)
	}
	for _, url := range []string{srv.URL, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), strings.Replace(srv.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		if got, err := get(t, tr, Egress{}, url); fault.CodeOf(err) != fault.UpstreamFailed || !errors.Is(err, errRefused) {
			t.Errorf("%s is private, but: %q, %v", url, got, err)
		}
	}
}

// A name is judged by what it resolves to at the time of dialling.
func TestTheResolvedAddressIsJudged(t *testing.T) {
	tr := transports(t, nil)
	c, err := tr.Client(Egress{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Transport.(*http.Transport).DialContext(context.Background(), "tcp", "localhost:443")
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
}

// proxy is an HTTP proxy that counts what it is asked, and wants a password.
func proxy(t *testing.T, secure bool) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Proxy-Authorization") != "Basic dXNlcjp0ZXN0LWtleQ==" { // user:test-key
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			_, _ = fmt.Fprintf(w, "proxied %s", r.URL)
			return
		}
		upstream, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		splice(struct {
			io.Reader
			io.WriteCloser
		}{buffered, client}, upstream)
	}))
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv, asked
}

// splice copies both ways until both have ended.
func splice(a, b io.ReadWriteCloser) {
	var both sync.WaitGroup
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
		})
	}
	both.Wait()
}

func through(t *testing.T, rawURL, scheme, user string) Egress {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.User = scheme, url.UserPassword("user", user)
	return Egress{Proxy: secret.New(u.String()), Private: true}
}

func TestThroughHTTPProxies(t *testing.T) {
	srv, roots := vendor(t)
	for _, secure := range []bool{false, true} {
		p, asked := proxy(t, secure)
		scheme := "http"
		if secure {
			scheme = "https"
			roots.AddCert(p.Certificate())
		}
		tr := transports(t, roots)
		if got, err := get(t, tr, through(t, p.URL, scheme, "test-key"), srv.URL); err != nil || got != "200 HTTP/2.0 hello " || asked.Load() != 1 {
			t.Errorf("%s: %q, %v, asked %d times", scheme, got, err, asked.Load())
		}
		if got, err := get(t, tr, through(t, p.URL, scheme, "test-key"), "http://example.test/x"); err != nil || got != "200 HTTP/1.1 proxied http://example.test/x" {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
		if got, err := get(t, tr, through(t, p.URL, scheme, "wrong-test-key"), srv.URL); err == nil || strings.Contains(err.Error(), "wrong-test-key") {
			t.Errorf("%s: with a wrong password: %q, %v", scheme, got, err)
		}
		public := through(t, p.URL, scheme, "test-key")
		public.Private = false
		if got, err := get(t, tr, public, "https://example.test"); !errors.Is(err, errRefused) {
			t.Errorf("%s: the proxy is private, but: %q, %v", scheme, got, err)
		}
		before := asked.Load()
		for _, target := range []string{"http://169.254.169.254/", "http://2852039166/", "https://[fd00:ec2::254]/", "http://metadata.google.internal/", "http://[::ffff:a9fe:a9fe]/"} {
			if got, err := get(t, tr, through(t, p.URL, scheme, "test-key"), target); fault.CodeOf(err) != fault.UpstreamFailed || !errors.Is(err, errRefused) {
				t.Errorf("%s to %s: %q, %v", scheme, target, got, err)
			}
		}
		if asked.Load() != before {
			t.Errorf("%s: the proxy was asked for what is refused", scheme)
		}
	}
}

func TestABrokenProxyIsNeverPassedBy(t *testing.T) {
	srv, roots := vendor(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody is there
	for _, scheme := range []string{"http", "https", "socks5"} {
		if got, err := get(t, transports(t, roots), through(t, "http://"+l.Addr().String(), scheme, "test-key"), srv.URL); err == nil || strings.Contains(err.Error(), "test-key") {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
	}
}

// socks is a SOCKS5 server for one user: RFC 1928 and 1929, CONNECT only. It says
// which kind of address it was asked for.
func socks(t *testing.T, kinds chan<- byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				if err := serveSocks(c, kinds); err != nil {
					t.Error(err)
				}
			})
		}
	})
	return l.Addr().String()
}

func serveSocks(c net.Conn, kinds chan<- byte) error {
	buf := make([]byte, 300)
	read := func(n int) []byte {
		if _, err := io.ReadFull(c, buf[:n]); err != nil {
			return make([]byte, n)
		}
		return append([]byte(nil), buf[:n]...)
	}
	read(int(read(2)[1])) // version, methods
	_, _ = c.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	if password := string(read(int(read(1)[0]))); user != "user" || password != "test-key" {
		_, _ = c.Write([]byte{1, 1})
		return nil
	}
	_, _ = c.Write([]byte{1, 0})
	head := read(4)
	var host string
	switch head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	default:
		return fmt.Errorf("address of kind %d", head[3])
	}
	kinds <- head[3]
	upstream, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(binary.BigEndian.Uint16(read(2)))))
	if err != nil {
		return err
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	splice(c, upstream)
	return nil
}

func TestThroughSOCKS5(t *testing.T) {
	srv, roots := vendor(t)
	kinds := make(chan byte, 10)
	addr := "http://" + socks(t, kinds)
	for _, scheme := range []string{"socks5", "socks5h"} {
		tr := transports(t, roots)
		if got, err := get(t, tr, through(t, addr, scheme, "test-key"), srv.URL); err != nil || got != "200 HTTP/2.0 hello " {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
		if kind := <-kinds; kind != 1 {
			t.Errorf("%s: asked for an address of kind %d", scheme, kind)
		}
		if got, err := get(t, tr, through(t, addr, scheme, "wrong-test-key"), srv.URL); err == nil || strings.Contains(err.Error(), "wrong-test-key") {
			t.Errorf("%s: with a wrong password: %q, %v", scheme, got, err)
		}
		if got, err := get(t, tr, through(t, addr, scheme, "test-key"), "https://169.254.169.254"); !errors.Is(err, errRefused) {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
		tr.CloseIdle()
	}
}

func TestProxySettingsThatCannotBeUsed(t *testing.T) {
	for _, setting := range []string{
		"test-key", "proxy.test:3128", "ftp://user:test-key@proxy.test", "http://", "http://user:test-key@", "://", "http://user:test-key%zz@proxy.test",
		"http://user:test-key@proxy.test:port", "http:user:test-key@proxy.test", "socks4://user:test-key@proxy.test", "http://user:test-key@proxy.test/path",
		"http://proxy.test?test-key", "http://proxy.test#test-key", "http://proxy.test:3128 ", "HTTP//proxy.test",
	} {
		c, err := New(Options{}).Client(Egress{Proxy: secret.New(setting)})
		if c != nil || fault.CodeOf(err) != fault.Invalid || fault.From(err).Field != "proxy" {
			t.Errorf("%q: %v", setting, err)
			continue
		}
		if strings.Contains(err.Error(), "test-key") {
			t.Errorf("%q is in the error: %v", setting, err)
		}
	}
}

func TestClientsAreKept(t *testing.T) {
	tr := New(Options{Limit: 2})
	client := func(host string) *http.Client {
		c, err := tr.Client(Egress{Proxy: secret.New("http://" + host)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := client("a.test"), client("b.test")
	if a != client("a.test") || a == b {
		t.Error("one way out has several clients, or several have one")
	}
	client("c.test") // b was unused for longest
	if a != client("a.test") {
		t.Error("a was forgotten")
	}
	if b == client("b.test") {
		t.Error("b was kept beyond the limit")
	}
	if len(tr.ways) != 2 {
		t.Errorf("%d ways out are kept", len(tr.ways))
	}
	if (Egress{Proxy: secret.New("test-key")}).Proxy.String() != "[redacted]" {
		t.Error("an egress prints its secret")
	}
}

func BenchmarkClient(b *testing.B) {
	tr := New(Options{})
	e := Egress{Proxy: secret.New("http://user:test-key@proxy.test:3128")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.Client(e); err != nil {
			b.Fatal(err)
		}
	}
}
