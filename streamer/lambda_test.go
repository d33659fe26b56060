package main

import (
	"net/http"
	"strings"
	"testing"

	"sluice/shared/host/hosttest"
)

// TestLambda runs the same binary as a Lambda function, and asks it through a REST
// API and through a Function URL. A function has no address to listen on: the
// settings name none, as infra/gateway.go does not.
func TestLambda(t *testing.T) {
	t.Parallel()
	d := deploy(t, true)
	l := hosttest.NewLambda()
	t.Cleanup(l.Close)
	p := launch(t, d.relay("AWS_LAMBDA_RUNTIME_API="+l.Addr(), "AWS_LAMBDA_FUNCTION_NAME=test", "GOMEMLIMIT=400MiB"))
	p.url, p.client = "https://api.test", &http.Client{Transport: l.REST(), Timeout: patience}
	d.account(p)
	k := newKey(p)
	calls := 0
	for name, way := range map[string]http.RoundTripper{"REST API": l.REST(), "Function URL": l} {
		p.client = &http.Client{Transport: way, Timeout: patience}
		answer := stream(p, k)
		if bill := d.vendor.Bill(); len(bill) > calls && bill[calls].Finished {
			t.Errorf("%s: nothing came before the vendor had sent everything", name)
		}
		finish(t, answer)
		if whole := p.text(http.MethodPost, "/v1/messages", k.Secret, prompt(false, "Hello")); !strings.Contains(whole, `"end_turn"`) {
			t.Errorf("%s: %s", name, whole)
		}
		calls += 2
		for _, r := range rows(p, k, calls) {
			if r.Code != "" || r.Estimated {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	if len(d.vendor.Bill()) != calls {
		t.Errorf("%d charges, want %d", len(d.vendor.Bill()), calls)
	}
	if len(inFlight(p)) == 0 {
		t.Error("a function writes no metrics")
	}
	silent(p, k.Secret)
}
