package store_test

import (
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

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

// authority signs the certificates of a test's servers.
type authority struct {
	dir   string
	roots *x509.CertPool
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), roots: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = issue(t, template, nil, nil)
	a.roots.AddCert(a.cert)
	a.write(t, "ca.crt", "CERTIFICATE", a.cert.Raw)
	return a
}

// issue signs a template; without a parent it signs itself.
func issue(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(filepath.Join(a.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// arguments make a redis-server listen with TLS at addr, under a certificate for
// 127.0.0.1.
func (a *authority) arguments(t *testing.T, addr string) []string {
	t.Helper()
	cert, key := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	a.write(t, "redis.crt", "CERTIFICATE", cert.Raw)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "redis.key", "EC PRIVATE KEY", der)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"--tls-port", port, "--tls-auth-clients", "no", "--tls-ca-cert-file", filepath.Join(a.dir, "ca.crt"),
		"--tls-cert-file", filepath.Join(a.dir, "redis.crt"), "--tls-key-file", filepath.Join(a.dir, "redis.key"),
	}
}

// TestRedisWithTLS speaks to a server whose plain port is closed, so that no
// command can have gone around TLS.
func TestRedisWithTLS(t *testing.T) {
	for name, cluster := range map[string]bool{"single": false, "shard": true} {
		t.Run(name, func(t *testing.T) {
			ca, addr := newAuthority(t), nowhere(t)
			args := append(ca.arguments(t, addr), "--requirepass", password)
			if cluster {
				args = append(args, "--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1")
			}
			prepare(t, storetest.Own(t, args...).Addr, cluster)
			url := secret.New("rediss://default:" + password + "@" + addr)
			c := storetest.Open(t, store.Options{URL: url, TLS: &tls.Config{RootCAs: ca.roots, MinVersion: tls.VersionTLS12}})
			if c.Cluster() != cluster {
				t.Errorf("Cluster = %v, want %v", c.Cluster(), cluster)
			}
			for want := range int64(3) {
				reply, err := c.Run(t.Context(), store.Call{Script: add, Keys: []string{"k"}, Args: []any{1}})
				if err != nil || reply != want+1 {
					t.Fatalf("script = %v, %v; want %d", reply, err, want+1)
				}
			}
			refused, err := store.Open(t.Context(), store.Options{URL: url})
			if fault.CodeOf(err) != fault.StoreDown || !errors.As(err, new(x509.UnknownAuthorityError)) {
				t.Errorf("an authority that nobody named: %v", err)
			}
			if err == nil {
				_ = refused.Close()
			}
		})
	}
}

// prepare gives a cluster of one all slots, and closes the plain port.
func prepare(t *testing.T, plain string, cluster bool) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: plain, Password: password})
	defer func() { _ = rdb.Close() }() // its port is closed meanwhile
	if cluster {
		if err := rdb.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
			t.Fatal(err)
		}
		err := eventually(func() error {
			info, err := rdb.ClusterInfo(t.Context()).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New("the cluster does not serve all slots")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := rdb.ConfigSet(t.Context(), "port", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", plain); err == nil {
		_ = c.Close()
		t.Fatal("the plain port is still open")
	}
}
