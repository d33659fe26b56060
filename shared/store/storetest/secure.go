package storetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The user of a deployment's store, as the deployment makes it; but for its
// authentication: IAM is known to AWS only, so that here any password is taken.
const (
	User        = "sluice"
	Permissions = "on ~* &* +@all -@dangerous +info"
	AnyPassword = "any-password"
)

// TLS is a server of this test's own that speaks TLS only and knows the user of a
// deployment only, as ElastiCache does: a single node or, in cluster mode, one
// shard. Server.CA is for SSL_CERT_FILE, or whoever else shall trust it.
func TLS(t testing.TB, cluster bool) *Server {
	t.Helper()
	dir := t.TempDir()
	a, err := newAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	args, err := a.server()
	if err != nil {
		t.Fatal(err)
	}
	if cluster {
		// Without an address of its own a node tells clients none, and TLS needs a name.
		args = append(args, "--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1")
	}
	s := &Server{CA: filepath.Join(dir, caFile), user: User + ":" + AnyPassword + "@"}
	t.Cleanup(s.Kill)
	err = s.add(&node{dir: filepath.Join(dir, "data"), args: args, tls: &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12}})
	if err == nil && cluster {
		err = s.assignSlots()
	}
	if err == nil {
		err = s.restrict()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restrict leaves the user of a deployment as the only one: from here on nobody
// administers the server.
func (s *Server) restrict() error {
	ctx := context.Background()
	c := s.nodes[0].client()
	user := []any{"acl", "setuser", User, "nopass"}
	for word := range strings.FieldsSeq(Permissions) {
		user = append(user, word)
	}
	return errors.Join(
		c.Do(ctx, user...).Err(),
		c.Do(ctx, "acl", "setuser", "default", "off").Err(),
		c.Close(),
	)
}

const (
	caFile   = "ca.crt"
	certFile = "redis.crt"
	keyFile  = "redis.key"
)

// authority signs the certificate of a server. Its files lie in dir.
type authority struct {
	dir   string
	roots *x509.CertPool
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir, roots: x509.NewCertPool()}
	var err error
	a.cert, a.key, err = issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	a.roots.AddCert(a.cert)
	return a, a.write(caFile, "CERTIFICATE", a.cert.Raw)
}

// server issues a certificate for 127.0.0.1 and gives the arguments with which a
// redis-server uses it.
func (a *authority) server() ([]string, error) {
	cert, key, err := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return []string{
		"--tls-auth-clients", "no", "--tls-ca-cert-file", filepath.Join(a.dir, caFile),
		"--tls-cert-file", filepath.Join(a.dir, certFile), "--tls-key-file", filepath.Join(a.dir, keyFile),
	}, errors.Join(a.write(certFile, "CERTIFICATE", cert.Raw), a.write(keyFile, "EC PRIVATE KEY", der))
}

func (a *authority) write(name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// issue signs a template; without a parent it signs itself.
func issue(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}
