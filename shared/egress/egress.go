// Package egress makes outbound HTTP: one tuned transport for each way out, and a
// guard that looks at every address before it is dialled.
//
// A way out is direct or through a proxy, and may reach private addresses or not.
// A proxy setting that cannot be used is an error, never a direct connection; the
// environment's proxies are never used. There is no total timeout: an answer may
// stream for as long as its caller lets it, by the request's context.
//
// The guard judges the address that a name resolved to, when it is dialled, so
// that no spelling and no rebinding gets around it. Through a proxy only the
// proxy's own address is dialled here, and it is judged; of the target, literal
// addresses in every spelling and the well-known names of this machine and of
// metadata services are refused. What another name resolves to at the proxy is
// not seen here: that is for the proxy to refuse.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"sluice/shared/fault"
	"sluice/shared/secret"
)

// Egress is a way out.
type Egress struct {
	Proxy   secret.Value // http, https, socks5 or socks5h URL, may hold user:password; empty = direct
	Private bool         // private and loopback addresses may be reached
}

// Options tune the transports. The zero value is what production uses.
type Options struct {
	Roots   *x509.CertPool // trusted certificates; nil = the system's
	Limit   int            // ways out kept at once; 0 = 256
	Connect time.Duration  // longest connect, and longest TLS handshake; 0 = 10 s
}

const (
	defaultLimit   = 256
	defaultConnect = 10 * time.Second
	idlePerHost    = 256
	idleFor        = 90 * time.Second // vendors' balancers close after 100 s or more
	// streamBuffer is what an HTTP/2 upstream may send ahead of the reader of one
	// stream. The standard library's 4 MB would be memory for each slow client.
	streamBuffer = 256 << 10
	// pingAfter is the silence of an HTTP/2 connection after which it is asked
	// whether it is still there; streams have no timeout that would notice.
	pingAfter = 30 * time.Second
)

// Transports are the ways out in use. It is safe for concurrent use.
type Transports struct {
	o Options

	mu    sync.Mutex
	ways  map[Egress]*way
	clock uint64 // rises with every use
}

type way struct {
	client *http.Client
	used   uint64
}

// New is a set of transports, empty.
func New(o Options) *Transports {
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.Connect <= 0 {
		o.Connect = defaultConnect
	}
	return &Transports{o: o, ways: make(map[Egress]*way)}
}

// Client is the HTTP client of a way out; the same for the same way. It follows
// no redirects. It errs with fault.Invalid (field "proxy") for a proxy that
// cannot be used; requests refused by the guard fail with fault.UpstreamFailed.
func (t *Transports) Client(e Egress) (*http.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock++
	if w, ok := t.ways[e]; ok {
		w.used = t.clock
		return w.client, nil
	}
	proxy, err := proxyURL(e.Proxy)
	if err != nil {
		return nil, err
	}
	if len(t.ways) >= t.o.Limit {
		t.evict()
	}
	w := &way{client: t.client(proxy, guard{private: e.Private}), used: t.clock}
	t.ways[e] = w
	return w.client, nil
}

// evict forgets the way out that was unused for longest. Requests that still run
// on it end as they would; only its idle connections are closed.
func (t *Transports) evict() {
	var oldest Egress
	least := t.clock
	for e, w := range t.ways {
		if w.used < least {
			oldest, least = e, w.used
		}
	}
	t.ways[oldest].client.CloseIdleConnections()
	delete(t.ways, oldest)
}

// CloseIdle closes the connections that no request uses.
func (t *Transports) CloseIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.ways {
		w.client.CloseIdleConnections()
	}
}

func (t *Transports) client(proxy *url.URL, g guard) *http.Client {
	dialer := &net.Dialer{
		Timeout:   t.o.Connect,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return g.address(address)
		},
	}
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			return proxy, g.host(r.URL.Hostname())
		},
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: t.o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   t.o.Connect,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       idleFor,
		DisableCompression:    true, // an encoded answer cannot be metered
		ForceAttemptHTTP2:     true,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamBuffer,
			SendPingTimeout:           pingAfter,
			PingTimeout:               defaultConnect,
		},
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// proxyURL reads a proxy setting. Its fault holds nothing of the setting, which
// may hold a password anywhere.
func proxyURL(setting secret.Value) (*url.URL, error) {
	if setting.Empty() {
		return nil, nil
	}
	u, err := url.Parse(setting.Reveal())
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return nil, fault.At("proxy", "the proxy is no URL (want e.g. http://user:password@host:3128)")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fault.At("proxy", "the proxy's scheme is not supported (want http, https, socks5 or socks5h)")
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.At("proxy", "the proxy's URL has more than scheme, user, host and port")
	}
	return u, nil
}
