package records_test

import (
	"testing"

	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

func BenchmarkUsage(b *testing.B) {
	bench := newBench(b, storetest.Single(b).Client(b))
	const stored = 10_000
	bench.settle(b, history(stored, 1, 2, 3, 4)...)
	b.Run("page", func(b *testing.B) {
		for b.Loop() {
			if _, err := bench.Usage().Records(b.Context(), usage.Query{Limit: 50}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sum", func(b *testing.B) {
		for b.Loop() {
			if _, err := bench.Usage().Sum(b.Context(), usage.Query{GroupBy: []usage.Dimension{usage.ByKey}}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/stored, "ns/record")
	})
}
