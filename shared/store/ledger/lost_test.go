package ledger_test

import (
	"testing"

	"sluice/shared/admission"
	"sluice/shared/store/storetest"
)

// The reply of each script is dropped once: whatever was repeated, nothing
// happened twice.
func TestLostReplies(t *testing.T) {
	single := storetest.Single(t)
	for nth, name := range []string{"admit", "extend", "settle"} {
		t.Run(name, func(t *testing.T) {
			proxy := storetest.NewProxy(t, single.Addr)
			c := proxy.Client(t)
			single.Flush(t)
			o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
			step := 0
			drop := func() {
				if step == nth {
					dropped := false
					proxy.DropReply(func(cmd []string) bool {
						first := !dropped && (cmd[0] == "evalsha" || cmd[0] == "eval")
						dropped = dropped || first
						return first
					})
				}
				step++
			}
			warm, _, err := o.admit(o.gate, 1) // every script is known to the server from here on
			if err != nil {
				t.Fatal(err)
			}
			if err := warm.Cover(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			o.settle(warm, 0)
			drop()
			g, _, err := o.admit(o.gate, 100)
			if err != nil {
				t.Fatal(err)
			}
			o.consistent()
			drop()
			if err := g.Cover(t.Context(), 200); err != nil {
				t.Fatal(err)
			}
			o.consistent()
			drop()
			o.settle(g, 30*cent)
			o.consistent()
			if b := o.balance(); b.Total != 30*cent || b.Held != 0 || b.Open != 0 || o.rows() != 2 {
				t.Errorf("%+v, %d rows", b, o.rows())
			}
			if proxy.Dropped() != 1 {
				t.Errorf("%d replies were dropped", proxy.Dropped())
			}
		})
	}
}
