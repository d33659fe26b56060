package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/llm"
	"sluice/shared/provider"
)

// counted is a Store of leases alone.
type counted struct {
	shelf
	leases map[string]int
}

func (c *counted) acquire(r Request) (Acquired, error) {
	for i, a := range r.Asks {
		if c.leases[a.Account] < a.Max {
			c.leases[a.Account]++
			return Acquired{Index: i}, nil
		}
		if i == 0 && r.Patient {
			return Acquired{Outcome: Waits}, nil
		}
	}
	return Acquired{Outcome: None, Passed: []Passed{{Why: Full}}}, nil
}

func (c *counted) Release(_ context.Context, r Release) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leases[r.Account]--
	return nil
}

// While the pool is used to less than 60 %, hardly any turn of a session leaves
// the account of the turn before, where the vendor's cache is warm.
func TestSessionsStay(t *testing.T) {
	const (
		accounts, places = 4, 15
		people           = 70 // each busy half of the time: 58 % of 60 places
		turns            = 40
	)
	synctest.Test(t, func(t *testing.T) {
		s := &counted{leases: map[string]int{}}
		s.answer = s.acquire
		for i := range accounts {
			s.accounts = append(s.accounts, Account{ID: fmt.Sprintf("acc_%d", i+1), Provider: "anthropic", Weight: 10, MaxConcurrency: places})
		}
		r := New(Options{Store: s, Providers: map[string]provider.Provider{"anthropic": vendor{"anthropic", llm.Anthropic}}})
		var mu sync.Mutex
		stayed, moved, refused := 0, 0, 0
		var wg sync.WaitGroup
		for person := range people {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(person)))
				some := func() { time.Sleep(time.Second + time.Duration(random.Int64N(int64(20*time.Second)))) }
				last := ""
				for turn := range turns {
					some()
					w := want(fmt.Sprintf("call-%d-%d", person, turn))
					w.Session = fmt.Sprint("session ", person)
					l, err := r.Acquire(t.Context(), w)
					mu.Lock()
					switch {
					case err != nil:
						refused++
					case last == l.Account.ID:
						stayed++
					case last != "":
						moved++
					}
					mu.Unlock()
					if err != nil {
						continue
					}
					last = l.Account.ID
					some()
					if err := s.Release(t.Context(), l.Settlement(provider.Verdict{})); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if share := float64(stayed) / float64(stayed+moved); share < 0.98 || refused > 0 || r.Open() != 0 {
			t.Errorf("%.4f of the turns stayed, %d were refused, %d are open", share, refused, r.Open())
		} else {
			t.Logf("%.4f of %d turns stayed", share, stayed+moved)
		}
	})
}
