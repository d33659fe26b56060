package store

import (
	"testing"
	"time"
)

// A connection that IAM let in is cut after 12 hours; go-redis adds the jitter or
// takes it off.
func TestConnectionsEndBeforeTheyAreCut(t *testing.T) {
	u := address{}.universal(Options{})
	longest := u.ConnMaxLifetime + u.ConnMaxLifetimeJitter
	if u.ConnMaxLifetimeJitter <= 0 || longest >= 12*time.Hour-15*time.Minute {
		t.Errorf("a connection lives %v ± %v, want some jitter and less than 11 h 45 min", u.ConnMaxLifetime, u.ConnMaxLifetimeJitter)
	}
}
