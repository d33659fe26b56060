package iam_test

import (
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/store/iam"
	"sluice/shared/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// signIns are the users and tokens that came over the wire, in order.
func signIns(t *testing.T, p *storetest.Proxy) (tokens []string) {
	t.Helper()
	for _, cmd := range p.Commands() {
		switch cmd[0] {
		case "hello":
			if len(cmd) < 5 || !strings.EqualFold(cmd[2], "auth") {
				t.Fatalf("a connection began with %q", cmd)
			}
			cmd = cmd[3:]
		case "auth":
			cmd = cmd[1:]
		default:
			continue
		}
		if cmd[0] != "sluice-user" {
			t.Errorf("sign-in of user %q", cmd[0])
		}
		tokens = append(tokens, cmd[1])
	}
	return tokens
}

// TestEachConnectionSignsIn opens a store at a real server whose user takes any
// password, and judges the tokens by what came over the wire.
func TestEachConnectionSignsIn(t *testing.T) {
	server := storetest.Own(t, "--user", "default", "off", "--user", "sluice-user", "on", "nopass", "~*", "&*", "+@all")
	p := storetest.NewProxy(t, server.Addr)
	var minutes atomic.Int64
	o := options(iam.Serverless)
	o.Now = func() time.Time { return start.Add(time.Duration(minutes.Add(1)) * time.Minute) }
	c := storetest.Open(t, store.Options{URL: p.URL(), Credentials: iam.Credentials(o)})
	const cuts = 3
	for range cuts {
		p.Down(true)
		p.Down(false)
		if err := c.Redis().Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	tokens := signIns(t, p)
	if len(tokens) <= cuts {
		t.Fatalf("%d sign-ins for a start and %d cuts", len(tokens), cuts)
	}
	seen := map[string]bool{}
	for _, token := range tokens {
		_, query, _ := strings.Cut(token, "/?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := time.Parse("20060102T150405Z", values.Get("X-Amz-Date"))
		if err != nil || signed.Before(start) || signed.After(o.Now()) {
			t.Errorf("signed at %v, %v", signed, err)
		}
		if seen[token] || values.Get("X-Amz-Signature") != sign(t, token, "elasticache") {
			t.Errorf("a token is used twice or not well signed: %s", token)
		}
		seen[token] = true
	}
}

func TestARefusedSignInDoesNotTellTheToken(t *testing.T) {
	server := storetest.Own(t, "--user", "default", "off", "--user", "sluice-user", "on", ">test-password", "~*", "&*", "+@all")
	_, err := store.Open(t.Context(), store.Options{URL: server.URL(), Credentials: iam.Credentials(options(iam.Nodes))})
	if fault.CodeOf(err) != fault.StoreDown || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Fatalf("Open = %v", err)
	}
	if strings.Contains(err.Error(), "X-Amz-") || strings.Contains(err.Error(), "Action=connect") {
		t.Errorf("the error tells the token: %v", err)
	}
}
