package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/secret"
)

// reached is what the first request showed.
type reached struct {
	status  int
	proto   int // major version of HTTP
	tls     *tls.ConnectionState
	latency time.Duration
	err     error
}

// reach asks /readyz, which looks at nothing but the process itself. Its result
// answers three checks.
func (s *suite) reach(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	begun := time.Now()
	res, err := s.client.send(ctx, http.MethodGet, "/readyz", secret.Value{}, nil)
	if err != nil {
		s.reached.err = err
		return fails("GET /readyz: %v", err)
	}
	defer func() { _ = res.Body.Close() }() // its status was of interest
	s.reached = reached{status: res.StatusCode, proto: res.ProtoMajor, tls: res.TLS, latency: time.Since(begun)}
	if res.StatusCode != http.StatusOK {
		return fails("GET /readyz: %v", readRefusal(res))
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxQuoted)); err != nil {
		return fails("GET /readyz broke off: %v", err)
	}
	return works("GET /readyz answered 200 after %s", round(s.reached.latency))
}

// certificate says whether the endpoint showed one that this machine trusts: the
// client refuses every other.
func (s *suite) certificate(context.Context) finding {
	invalid, wrong := errors.AsType[*tls.CertificateVerificationError](s.reached.err)
	switch {
	case strings.HasPrefix(s.client.base, "http://"):
		return skip("the endpoint is http: keys and prompts pass unencrypted; deploy with a certificate")
	case wrong:
		return fails("%v", invalid)
	case s.reached.tls == nil:
		return skip("the endpoint was not reached")
	}
	leaf := s.reached.tls.PeerCertificates[0]
	return works("trusted, for %s, until %s, %s", strings.Join(leaf.DNSNames, " "), leaf.NotAfter.Format(time.DateOnly), tls.VersionName(s.reached.tls.Version))
}

// http2 says whether HTTP/2 was negotiated. Clients with many streams at once need
// it of the balancer in front of Fargate; of API Gateway it is not asked for.
func (s *suite) http2(context.Context) finding {
	switch {
	case s.reached.status == 0:
		return skip("the endpoint was not reached")
	case s.reached.tls == nil:
		return skip("HTTP/2 is negotiated within TLS, and the endpoint is http")
	case s.reached.proto == 2:
		return works("negotiated")
	case s.target.host == onLambda:
		return skip("HTTP/%d was spoken; HTTP/2 is asked for on Fargate only", s.reached.proto)
	}
	return fails("HTTP/%d was spoken: the balancer does not offer HTTP/2, or a proxy of this machine does not", s.reached.proto)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
