package main

import (
	"net/http"
	"testing"

	"sluice/shared/usage"
)

// A call that ends while the store is away is counted when it is back, with the
// vendor's figures: the queue outlives the wait, and the process.
func TestStoreAwayAtTheEnd(t *testing.T) {
	d := deploy(t, false)
	p := start(t, d.task())
	d.account(p)
	k := newKey(p)
	answer := stream(p, k)
	d.store.Pause(t)
	finish(t, answer)
	eventually(t, "the settlement is queued", func() bool { return d.cloud.SQS.Len() == 1 })
	d.store.Resume(t)

	row := rows(p, k, 1)[0]
	if row.Outcome != usage.Complete || row.Estimated || row.Corrects != nil {
		t.Errorf("%+v", row)
	}
	eventually(t, "the queue is empty", func() bool { return d.cloud.SQS.Len() == 0 })
	p.text(http.MethodGet, "/admin/v1/overview", adminToken, "")
	rows(p, k, 1) // and not twice
}
