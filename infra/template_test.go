package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

func TestMain(m *testing.M) {
	code := m.Run()
	jsii.Close()
	os.Exit(code)
}

// given are switches as a user gives them.
type given map[string]any

func (g given) with(more given) given {
	all := maps.Clone(g)
	maps.Copy(all, more)
	return all
}

// profiles are the three, with what each cannot do without.
func profiles() map[string]given {
	return map[string]given{
		Small:  {"profile": Small, "certificate": certificate, "domain": "llm.example.com"},
		HA:     {"profile": HA, "zone": "Z0123456789ABC", "domain": "llm.example.com"},
		Lambda: {"profile": Lambda},
	}
}

const certificate = "arn:aws:acm:eu-west-1:000000000000:certificate/c"

// variants are the profiles and what else the switches can make of them.
func variants() map[string]given {
	all := profiles()
	small, ha, lambda := all[Small], all[HA], all[Lambda]
	for name, g := range map[string]given{
		"small, store=nodes":      small.with(given{"store": Nodes}),
		"small, store=memorydb":   small.with(given{"store": MemoryDB, "alarm_email": "ops@example.com"}),
		"small, egress=nat":       small.with(given{"egress": NAT, "bedrock_roles": "arn:aws:iam::000000000000:role/bedrock"}),
		"small, egress=endpoints": small.with(given{"egress": Endpoints}),
		"small, existing VPC": small.with(given{
			"vpc": "vpc-0000000a", "azs": "eu-west-1a,eu-west-1b", "public_subnets": "subnet-0000000a,subnet-0000000b", "private_subnets": "subnet-0000000c,subnet-0000000d",
		}),
		"small, plain HTTP":    {"profile": Small, "clients": "203.0.113.0/24,2001:db8::/32", "env": "SLUICE_ATTEMPTS=2"},
		"ha, store=nodes":      ha.with(given{"store": Nodes}),
		"ha, store=memorydb":   ha.with(given{"store": MemoryDB}),
		"no switches":          {},
		"lambda, function URL": lambda.with(given{"function_url": "true", "zone": "Z0123456789ABC", "domain": "llm.example.com"}),
		"lambda, egress=nat":   lambda.with(given{"egress": NAT}),
	} {
		all[name] = g
	}
	return all
}

// each runs a check on the templates of every variant.
func eachVariant(t *testing.T, check func(t *testing.T, d deployment)) {
	t.Helper()
	all := variants()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { check(t, synth(t, all[name])) })
	}
}

// deployment is both templates as synthesized.
type deployment struct {
	switches  *Switches
	data, app template
	dir       string
}

// all is every resource of both stacks of a type, by logical id.
func (d deployment) all(kind string) map[string]resource {
	found := d.data.of(kind)
	maps.Copy(found, d.app.of(kind))
	return found
}

// one is the only resource of a type.
func (d deployment) one(t *testing.T, kind string) resource {
	t.Helper()
	found := d.all(kind)
	if len(found) != 1 {
		t.Fatalf("%d resources of type %s", len(found), kind)
	}
	return found[slices.Collect(maps.Keys(found))[0]]
}

type template struct {
	Resources map[string]resource
	Outputs   map[string]map[string]any
	raw       []byte
}

type resource struct {
	Type                string
	Properties          map[string]any
	DeletionPolicy      string
	UpdateReplacePolicy string
	DependsOn           any
}

func (t template) of(kind string) map[string]resource {
	found := make(map[string]resource)
	for id, r := range t.Resources {
		if r.Type == kind {
			found[id] = r
		}
	}
	return found
}

// get is what lies under a path of names and indices, such as "Target.Arn" or
// "Statement.0.Action"; nil when there is nothing.
func (r resource) get(path string) any { return get(r.Properties, path) }

func get(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

// text is a value as JSON, to search in.
func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// synthesized are deployments by their switches: synthesis takes most of the time.
var synthesized = map[string]deployment{}

// synth synthesizes both stacks, once for each set of switches.
func synth(t *testing.T, g given, aspects ...awscdk.IAspect) deployment {
	t.Helper()
	key := jsonOf(g)
	if d, done := synthesized[key]; done && len(aspects) == 0 {
		return d
	}
	s, err := read(map[string]any(g))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "cdk.out") // outlives the test that made it
	if err != nil {
		t.Fatal(err)
	}
	context := flags(t)
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: &dir, Context: &context, AnalyticsReporting: no()})
	deploy(app, s, artifacts(t))
	for _, a := range aspects {
		awscdk.Aspects_Of(app).Add(a, nil)
	}
	app.Synth(nil)
	d := deployment{switches: s, dir: dir, data: load(t, dir, "SluiceData"), app: load(t, dir, "SluiceApp")}
	if len(aspects) == 0 {
		synthesized[key] = d
	}
	return d
}

// flags are the feature flags in cdk.json.
func flags(t *testing.T) map[string]any {
	t.Helper()
	b, err := os.ReadFile("../cdk.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Context map[string]any }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Context
}

// artifacts stand in for what `make artifacts` builds: the templates are about
// where it goes, not what is in it.
func artifacts(t *testing.T) Built {
	t.Helper()
	dir := t.TempDir()
	b := Built{Digest: "sha256:" + strings.Repeat("ab", 32), Relay: filepath.Join(dir, "relay"), Sweep: filepath.Join(dir, "sweep"), Rollup: filepath.Join(dir, "rollup")}
	for _, folder := range []string{b.Relay, b.Sweep, b.Rollup} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "bootstrap"), []byte("bootstrap"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func load(t *testing.T, dir, stack string) template {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := template{raw: b}
	if err := json.Unmarshal(b, &found); err != nil {
		t.Fatal(err)
	}
	return found
}
