package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrongSwitchesAreNamed(t *testing.T) {
	for _, c := range []struct {
		given given
		want  string
	}{
		{given{"profile": "large"}, "profile=large: want small, ha, lambda"},
		{given{"profle": "small"}, "profle: no such switch (did you mean profile?)"},
		{given{"profile": "lambda", "egress": "public"}, "egress=public: Lambda functions have no public address (want ipv6, nat or endpoints)"},
		{given{"egress": "ipv6"}, "egress=ipv6: tasks need IPv4 to fetch their image (want public, nat or endpoints)"},
		{given{"clients": "0.0.0.0/0"}, "clients=0.0.0.0/0: without a certificate keys would cross the internet in the clear (want networks of yours, such as 203.0.113.0/24)"},
		{given{"certificate": "mine"}, "certificate=mine: want the ARN of an ACM certificate"},
		{given{"certificate": certificate, "clients": "203.0.113.7/24"}, `clients=203.0.113.7/24: "203.0.113.7/24": want a network such as 203.0.113.0/24`},
		{given{"certificate": certificate, "function_url": "true"}, "function_url=true: only with streamer=lambda"},
		{given{"certificate": certificate, "function_url": "yes"}, "function_url=yes: want true or false"},
		{given{"certificate": certificate, "tasks_min": 4.0, "tasks_max": 3.0}, "tasks_min=4: more than tasks_max=3"},
		{given{"certificate": certificate, "zones": "4"}, "zones=4: want a number from 2 to 3"},
		{given{"certificate": certificate, "stream_max": "2h"}, "stream_max=2h: want a duration from 1m to 59m0s"},
		{given{"certificate": certificate, "log_days": "31"}, "log_days=31: want one of 1, 3, 5, 7, 14, 30, 60, 90, 180, 365"},
		{given{"certificate": certificate, "zone": "Z0123456789ABC"}, "zone=Z0123456789ABC: needs domain, the name in it"},
		{given{"profile": "lambda", "domain": "llm.example.com"}, "domain=llm.example.com: needs certificate (its ACM certificate) or zone (to have one issued)"},
		{given{"certificate": certificate, "vpc": "vpc-0000000a"}, "private_subnets: vpc=vpc-0000000a needs one a zone in azs\npublic_subnets: vpc=vpc-0000000a needs one a zone in azs"},
		{given{"certificate": certificate, "private_subnets": "subnet-0000000a"}, "private_subnets=subnet-0000000a: only with vpc"},
		{given{"certificate": certificate, "azs": "eu-west-1a", "zones": "2"}, "azs=eu-west-1a: 2 zones are wanted, 1 are named"},
		{given{"certificate": certificate, "bedrock_roles": "bedrock"}, `bedrock_roles=bedrock: "bedrock": want the ARN of a role`},
		{given{"certificate": certificate, "env": "SLUICE_ATTEMPTS=99"}, "env=SLUICE_ATTEMPTS=99: SLUICE_ATTEMPTS=99: not a number from 1 to 10"},
		{given{"certificate": certificate, "env": "SLUICE_LISTEN=:1"}, "env=SLUICE_LISTEN=:1: SLUICE_LISTEN: the deployment sets it"},
		{given{"certificate": certificate, "env": "PATH=/bin"}, `env=PATH=/bin: "PATH=/bin": want SLUICE_NAME=VALUE`},
		{given{"certificate": certificate, "qualifier": "NO"}, "qualifier=NO: want a CDK qualifier"},
		{given{"certificate": certificate, "profile": map[string]any{}}, "profile: neither text, number, true, false nor a list of them"},
	} {
		_, err := read(map[string]any(c.given))
		if err == nil {
			t.Errorf("%v: no error", c.given)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.given, err, c.want)
		}
	}
}

func TestDefaultsFollowTheProfile(t *testing.T) {
	for profile, want := range map[string][]any{
		Small: {Fargate, Public, Serverless, 2, 1}, HA: {Fargate, Public, Serverless, 3, 2}, Lambda: {Lambda, IPv6, Serverless, 2, 1},
	} {
		s, err := read(map[string]any(profiles()[profile]))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, []any{s.Streamer, s.Egress, s.Store, s.Zones, s.TasksMin}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", profile, diff)
		}
	}
	if _, err := read(map[string]any{"profile": "lambda", "aws:cdk:x": true, "@aws-cdk/x": true, "cli-telemetry": false}); err != nil {
		t.Errorf("what belongs to the CDK: %v", err)
	}
	s, err := read(map[string]any{"profile": "lambda", "azs": []any{"eu-west-1a", "eu-west-1b", "eu-west-1c"}, "tasks_max": 20.0})
	if err != nil || s.Zones != 3 || s.TasksMax != 20 {
		t.Errorf("values of cdk.json: %+v, %v", s, err)
	}
}

// TestReadmeHasTheSwitches holds the switches in the README against the table.
func TestReadmeHasTheSwitches(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const head = "| Switch | Default | Meaning |\n|---|---|---|\n"
	_, rest, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("README.md has no table that begins with\n%s", head)
	}
	documented, _, _ := strings.Cut(rest, "\n\n")
	var want []string
	for _, s := range Table() {
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		want = append(want, "| `"+s.Name+"` | "+value+" | "+s.Meaning+" |")
	}
	if diff := cmp.Diff(want, strings.Split(documented, "\n")); diff != "" {
		t.Errorf("README.md differs from the table (-table +README)\n%s", diff)
	}
}
