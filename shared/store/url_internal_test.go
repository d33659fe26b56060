package store

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/secret"
)

var exported = cmp.Exporter(func(reflect.Type) bool { return true })

func TestParseURL(t *testing.T) {
	for text, want := range map[string]address{
		"redis://cache":                          {hosts: []string{"cache:6379"}},
		"redis://cache:7000/4":                   {hosts: []string{"cache:7000"}, db: 4},
		"rediss://cache.example/":                {hosts: []string{"cache.example:6379"}, tls: true},
		"redis://:test-password@cache":           {hosts: []string{"cache:6379"}, password: "test-password"},
		"redis://user:a%40b%3A@a:1,b:2,[::1]:3":  {hosts: []string{"a:1", "b:2", "[::1]:3"}, user: "user", password: "a@b:"},
		"redis://user:with@sign@a,[fe80::1]":     {hosts: []string{"a:6379", "[fe80::1]:6379"}, user: "user", password: "with@sign"},
		"rediss://only-user@127.0.0.1:6380,host": {hosts: []string{"127.0.0.1:6380", "host:6379"}, user: "only-user", tls: true},
	} {
		got, err := parseURL(secret.New(text))
		if diff := cmp.Diff(want, got, exported); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
		if user, err := User(secret.New(text)); user != want.user || err != nil {
			t.Errorf("User(%s) = %q, %v; want %q", text, user, err, want.user)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for _, text := range []string{
		"", "cache:6379", "http://cache", "redis://", "redis://cache:0", "redis://cache:65536", "redis://cache:port", "redis://a,,b",
		"redis://cache/one", "redis://cache/-1", "redis://cache?db=1", "redis://:secret-%zz@cache", "redis://a b", "redis://a/1/2",
		"redis://:secret-?@cache", "redis://user:secret-/slash@",
	} {
		_, err := parseURL(secret.New(text))
		if fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want invalid", text, err)
			continue
		}
		if strings.Contains(err.Error(), "secret-") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://user:a%40b@a:1,b:2,[::1]:3/4")
	f.Add("rediss://@@:0/")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseURL(secret.New(text))
		if err == nil && len(a.hosts) == 0 {
			t.Errorf("%q has no host", text)
		}
	})
}

func BenchmarkCommand(b *testing.B) {
	c := &Client{}
	call := Call{Script: NewScript("s", "return 1"), Keys: []string{Intents(1), Due(1), Done(1, 2)}, Args: []any{"call", 1, 2}}
	b.ReportAllocs()
	for b.Loop() {
		c.command(b.Context(), call)
	}
}
