package rollup_test

import (
	"testing"
	"time"

	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// BenchmarkRoll rolls up 10,000 records of four partitions and two hours.
func BenchmarkRoll(b *testing.B) {
	const stored = 10_000
	all := history(stored, start, 2*time.Hour, 1, 2, 3, 4)
	server := storetest.Single(b)
	w := newWorld(b, server.Client(b))
	for b.Loop() {
		b.StopTimer()
		server.Flush(b)
		w.settle(all...)
		b.StartTimer()
		w.roll()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/stored, "ns/record")
}

// BenchmarkSum adds up a month by day and key, of 20,000 records in four of all
// partitions.
func BenchmarkSum(b *testing.B) {
	w := newWorld(b, storetest.Single(b).Client(b))
	w.settle(history(20_000, start, 31*24*time.Hour, 1, 2, 3, 4)...)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	read := func(zone *time.Location) func(b *testing.B) {
		return func(b *testing.B) {
			q := usage.Query{From: start, To: start.AddDate(0, 0, 31), Zone: zone, GroupBy: []usage.Dimension{usage.ByKey}}
			for b.Loop() {
				if _, err := rollup.NewReader(w.client).Sum(b.Context(), everywhere(), q); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("records", read(time.UTC))
	w.clock = start
	w.roll()
	b.Run("days", read(time.UTC))
	b.Run("hours", read(berlin))
}
