package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// answers are what a resolver says: addresses of a name, of both families. A name
// without any does not exist; "fail" stands for one that cannot be looked up.
type answers map[string][]string

func (a answers) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, text := range a[host] {
		if text == "fail" {
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
		}
		if addr := netip.MustParseAddr(text); addr.Is4() == (network == "ip4") {
			found = append(found, addr)
		}
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

// world is where everybody has both families, under every name.
func world(region string) answers {
	a := answers{}
	for _, s := range services(region) {
		for _, host := range s.hosts {
			a[host] = []string{"192.0.2.1", "2001:db8::1"}
		}
	}
	return a
}

func TestProbe(t *testing.T) {
	v4 := []string{"192.0.2.1"}
	for name, c := range map[string]struct {
		code int
		args []string
		set  func(answers)
	}{
		"probe-all":   {0, []string{"--strict"}, func(answers) {}},
		"probe-china": {0, []string{"--region", "cn-north-1"}, func(answers) {}},
		"probe-some": {0, []string{"proxy.example.com"}, func(a answers) {
			a["api.openai.com"] = v4
			a["bedrock-runtime.eu-west-1.amazonaws.com"] = v4
			a["bedrock-mantle.eu-west-1.api.aws"] = nil
			a["kms.eu-west-1.amazonaws.com"] = v4
			a["kms.eu-west-1.api.aws"] = nil
			a["sts.eu-west-1.amazonaws.com"] = []string{"fail"}
			a["s3.eu-west-1.amazonaws.com"] = []string{"fail"}
			a["s3.dualstack.eu-west-1.amazonaws.com"] = []string{"fail"}
			a["events.eu-west-1.amazonaws.com"] = []string{"192.0.2.1", "::ffff:192.0.2.1"}
			a["proxy.example.com"] = []string{"192.0.2.1", "64:ff9b::c000:201"}
		}},
		"probe-no-dns": {1, []string{"--strict"}, func(a answers) { clear(a) }},
		"probe-strict": {1, []string{"--strict"}, func(a answers) { a["api.openai.com"] = v4 }},
	} {
		t.Run(name, func(t *testing.T) {
			region := "eu-west-1"
			if name == "probe-china" {
				region = "cn-north-1"
			}
			p := newTool(t, newStand(t))
			a := world(region)
			c.set(a)
			p.resolver = a
			p.do(t, name, c.code, append([]string{"probe"}, c.args...)...)
		})
	}
}

func TestProbeNeedsRegion(t *testing.T) {
	s := newStand(t)
	p := newTool(t, s)
	p.aws = func(context.Context, string) (*session, error) { return s.session("", nil), nil }
	p.do(t, "probe-no-region", 2, "probe")
}
