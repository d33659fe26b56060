package storetest

import (
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/embedded"
)

// Embedded is a guarded client of an embedded store in a directory of the test.
func Embedded(t testing.TB) *store.Client {
	t.Helper()
	s, err := embedded.Open(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return Open(t, s.Options())
}

// Each runs a test on every kind of server: the embedded store, a single node, a
// cluster of one shard and, unless the tests are short, a cluster of three.
func Each(t *testing.T, test func(t *testing.T, c *store.Client)) {
	t.Run("embedded", func(t *testing.T) { test(t, Embedded(t)) })
	t.Run("single", func(t *testing.T) { test(t, Single(t).Client(t)) })
	t.Run("shard", func(t *testing.T) { test(t, SingleShard(t).Client(t)) })
	if !testing.Short() {
		t.Run("cluster", func(t *testing.T) { test(t, Cluster(t).Client(t)) })
	}
}
