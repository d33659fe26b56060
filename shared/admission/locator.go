package admission

import "sluice/shared/money"

// Locator is everything a process needs to admit a key's calls without asking
// twice: where its counters live and what its owners' records say. A stored one
// is a hint. Admit compares the versions with the authoritative records and
// answers with fresh ones when they differ.
type Locator struct {
	Partition int   `json:"p"`
	Key       Key   `json:"key"`
	User      *User `json:"user,omitempty"`
	Team      *Team `json:"team,omitempty"`
}

// Owners are the records the key draws on, narrowest first: itself, user, team.
func (l *Locator) Owners() []*Owner {
	owners := []*Owner{&l.Key.Owner}
	if l.User != nil {
		owners = append(owners, &l.User.Owner)
	}
	if l.Team != nil {
		owners = append(owners, &l.Team.Owner)
	}
	return owners
}

// Balance is what an owner has spent in its current periods and holds now.
type Balance struct {
	Held  money.Nanos `json:"held_usd"` // by calls in flight
	Day   money.Nanos `json:"day_usd"`
	Week  money.Nanos `json:"week_usd"`
	Month money.Nanos `json:"month_usd"`
	Total money.Nanos `json:"total_usd"`
	Open  int         `json:"open"` // calls in flight
}
