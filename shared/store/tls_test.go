package store_test

import (
	"crypto/x509"
	"errors"
	"testing"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

// TestRedisWithTLS speaks to a server without a plain port, so that no command can
// have gone around TLS.
func TestRedisWithTLS(t *testing.T) {
	for name, cluster := range map[string]bool{"single": false, "shard": true} {
		t.Run(name, func(t *testing.T) {
			server := storetest.TLS(t, cluster)
			c := server.Client(t)
			if c.Cluster() != cluster {
				t.Errorf("Cluster = %v, want %v", c.Cluster(), cluster)
			}
			for want := range int64(3) {
				reply, err := c.Run(t.Context(), store.Call{Script: add, Keys: []string{"k"}, Args: []any{1}})
				if err != nil || reply != want+1 {
					t.Fatalf("script = %v, %v; want %d", reply, err, want+1)
				}
			}
			refused, err := store.Open(t.Context(), store.Options{URL: server.URL()})
			if fault.CodeOf(err) != fault.StoreDown || !errors.As(err, new(x509.UnknownAuthorityError)) {
				t.Errorf("an authority that nobody named: %v", err)
			}
			if err == nil {
				_ = refused.Close()
			}
		})
	}
}
