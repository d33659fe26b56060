package pool

import "time"

// State is how an account fares now.
type State struct {
	ID         string          `json:"id"`
	Leases     int             `json:"leases"`               // calls on it now
	CoolUntil  time.Time       `json:"cool_until,omitzero"`  // takes no call before; zero when healthy
	Reason     string          `json:"reason,omitempty"`     // of the cool-down
	Recovering int             `json:"recovering,omitempty"` // places while half-open after a cool-down; 0 = all
	Families   map[string]Cool `json:"families,omitempty"`   // model families that cool down, at the account or its vendor
}

// Cool is a cool-down of one model family.
type Cool struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
}
