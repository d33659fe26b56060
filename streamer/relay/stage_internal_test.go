package relay

import (
	"errors"
	"testing"
)

// TestNoTracerCostsNothing holds what a stage is without a tracer: no allocation.
func TestNoTracerCostsNothing(t *testing.T) {
	x := &exchange{}
	failed := errors.New("failed")
	if n := testing.AllocsPerRun(100, func() { staged(x, failed) }); n != 0 {
		t.Errorf("a stage without a tracer takes %v allocations", n)
	}
}

func staged(x *exchange, result error) (err error) {
	defer x.stage("locate").done(&err)
	return result
}

func BenchmarkStageWithoutTracer(b *testing.B) {
	x := &exchange{}
	b.ReportAllocs()
	for b.Loop() {
		if err := staged(x, nil); err != nil {
			b.Fatal(err)
		}
	}
}
