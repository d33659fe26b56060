package cost_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"sluice/infra/cost"
	"sluice/shared/money"
)

var update = flag.Bool("update", false, "rewrite the golden page")

// profiles are the hand-written templates of testdata.
func profiles(t testing.TB) []cost.Deployment {
	t.Helper()
	return []cost.Deployment{
		{Name: "small", Note: "One task and a serverless store.", Templates: []json.RawMessage{template(t, "small")}},
		{Name: "ha", Note: "Two tasks in three zones and a store of two nodes.", Templates: []json.RawMessage{template(t, "ha")}},
		{Name: "lambda", Note: "A function that streams, and a serverless store.", Templates: []json.RawMessage{template(t, "lambda")}},
	}
}

func template(t testing.TB, name string) json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPageIsTheGoldenOne(t *testing.T) {
	var page bytes.Buffer
	if err := cost.Page(&page, profiles(t)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/page.md"
	if *update {
		if err := os.WriteFile(golden, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page.Bytes(), want) {
		t.Errorf("the page differs from %s; look at it, then run the test with -update:\n%s", golden, page.String())
	}
}

// edit changes one property of a resource in a template of testdata.
func edit(t testing.TB, name, id, path string, value any) []json.RawMessage {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(template(t, name), &doc); err != nil {
		t.Fatal(err)
	}
	at := doc["Resources"].(map[string]any)[id].(map[string]any)
	steps := strings.Split(path, ".")
	for _, s := range steps[:len(steps)-1] {
		if at[s] == nil {
			at[s] = map[string]any{}
		}
		at = at[s].(map[string]any)
	}
	at[steps[len(steps)-1]] = value
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return []json.RawMessage{raw}
}

// with adds a resource to the small template.
func with(t testing.TB, kind string, properties map[string]any) []json.RawMessage {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(template(t, "small"), &doc); err != nil {
		t.Fatal(err)
	}
	doc["Resources"].(map[string]any)["Added"] = map[string]any{"Type": kind, "Properties": properties}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return []json.RawMessage{raw}
}

func of(t testing.TB, templates []json.RawMessage) *cost.Estimate {
	t.Helper()
	e, err := cost.Of(cost.Deployment{Name: "small", Templates: templates})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func item(t testing.TB, e *cost.Estimate, resource string) cost.Item {
	t.Helper()
	for _, it := range e.Items {
		if it.Resource == resource {
			return it
		}
	}
	t.Fatalf("there is no line %q", resource)
	return cost.Item{}
}

func usd(t testing.TB, s string) money.Nanos {
	t.Helper()
	n, err := money.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLines holds single lines against figures worked out by hand.
func TestLines(t *testing.T) {
	small := of(t, []json.RawMessage{template(t, "small")})
	ha := of(t, []json.RawMessage{template(t, "ha")})
	lambda := of(t, []json.RawMessage{template(t, "lambda")})
	for _, tt := range []struct {
		e        *cost.Estimate
		resource string
		want     [3]string // idle, 1 M, 100 M
	}{
		{small, "Tasks: processor", [3]string{"5.90935", "5.90935", "35.4561"}}, // 0.25 × 730 × 0.03238; six tasks for 2,283 streams
		{small, "Tasks: memory", [3]string{"1.2994", "1.2994", "7.7964"}},
		{small, "Load balancer", [3]string{"16.425", "16.425", "16.425"}},
		{small, "Capacity of the balancer", [3]string{"0", "0.88", "88"}},                         // 110 GB at 1 GB an LCU-hour
		{small, "Public IPv4 address of the balancer", [3]string{"7.30", "7.30", "7.30"}},         // two subnets
		{small, "Public IPv4 address of a task", [3]string{"3.65", "3.65", "21.90"}},              // one a task
		{small, "Store: data, at least the minimum", [3]string{"6.132", "6.132", "501.39322044"}}, // 100 MB; 10 MB and 350 bytes a request for 7 days
		{small, "Alarm of target tracking", [3]string{"0.20", "0.20", "0.20"}},
		{small, "Data out: answers to clients, requests to the vendor", [3]string{"0", "9.90", "990"}},
		{small, "Traces of requests", [3]string{"0", "5", "99.898"}}, // 6 × 2,628,000 + 5 % of the rest
		{small, "Archive: a year of records", [3]string{"0", "0.069", "6.90"}},
		{ha, "Store: node cache.t4g.small", [3]string{"37.376", "37.376", "37.376"}}, // 2 × 730 × 0.0256
		{ha, "Public IPv4 address of the balancer", [3]string{"10.95", "10.95", "10.95"}},
		{lambda, "REST API", [3]string{"0", "3.50", "350"}},
		{lambda, "Streaming function: run time", [3]string{"0", "133.334", "13333.40"}}, // 20 s × 0.5 GB a request
		{lambda, "Scheduled functions: run time", [3]string{"0.043800219", "0.043800219", "0.043800219"}},
	} {
		for i, want := range tt.want {
			if got := item(t, tt.e, tt.resource).Cost[i]; got != usd(t, want) {
				t.Errorf("%s at load %d costs %s, want %s", tt.resource, i, got, want)
			}
		}
	}
}

func TestMoreRequestsNeverCostLess(t *testing.T) {
	for _, d := range profiles(t) {
		e, err := cost.Of(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range e.Items {
			if it.Cost[0] > it.Cost[1] || it.Cost[1] > it.Cost[2] {
				t.Errorf("%s: %s costs %s, then %s, then %s", d.Name, it.Resource, it.Cost[0], it.Cost[1], it.Cost[2])
			}
		}
		var sum cost.Months
		for _, it := range e.Items {
			for i := range sum {
				sum[i] += it.Cost[i]
			}
		}
		if sum != e.Total || e.Total[0] >= e.Total[1] || e.Total[1] >= e.Total[2] {
			t.Errorf("%s: the items sum to %v, the totals are %v", d.Name, sum, e.Total)
		}
	}
}

// TestMoreOfAnythingCostsMore changes one property and looks at the idle total.
func TestMoreOfAnythingCostsMore(t *testing.T) {
	for _, tt := range []struct {
		name, id, path string
		value          any
	}{
		{"small", "Scaling", "Properties.MinCapacity", 2},
		{"small", "Service", "Properties.DesiredCount", 3},
		{"small", "Task", "Properties.Cpu", "512"},
		{"small", "Task", "Properties.Memory", "1024"},
		{"small", "Task", "Properties.RuntimePlatform.CpuArchitecture", "X86_64"},
		{"small", "Balancer", "Properties.Subnets", []any{"a", "b", "c"}},
		{"small", "Store", "Properties.Engine", "redis"},
		{"small", "Store", "Properties.CacheUsageLimits.DataStorage", map[string]any{"Minimum": 1, "Unit": "GB"}},
		{"small", "Store", "Properties.CacheUsageLimits.ECPUPerSecond", map[string]any{"Minimum": 1000}},
		{"small", "Store", "Properties.SnapshotRetentionLimit", 7},
		{"small", "Sweep", "Properties.MemorySize", 512},
		{"small", "Sweep", "Properties.TracingConfig.Mode", "Active"},
		{"small", "Logs", "Properties.RetentionInDays", 365},
		{"small", "AlarmErrors", "Properties.Metrics", []any{map[string]any{"MetricStat": map[string]any{}}, map[string]any{"MetricStat": map[string]any{}}}},
		{"ha", "Store", "Properties.ReplicasPerNodeGroup", 2},
		{"ha", "Store", "Properties.NumNodeGroups", 2},
		{"ha", "Store", "Properties.CacheNodeType", "cache.t4g.medium"},
	} {
		before, after := of(t, []json.RawMessage{template(t, tt.name)}), of(t, edit(t, tt.name, tt.id, tt.path, tt.value))
		if after.Total[0] <= before.Total[0] {
			t.Errorf("%s %s = %v: %s before, %s after", tt.id, tt.path, tt.value, before.Total[0], after.Total[0])
		}
	}
}

// TestLessCostsLess changes one property to one that is cheaper.
func TestLessCostsLess(t *testing.T) {
	for _, tt := range []struct {
		name, id, path string
		value          any
	}{
		{"small", "Balancer", "Properties.Scheme", "internal"},
		{"small", "Balancer", "Properties.IpAddressType", "dualstack-without-public-ipv4"},
		{"small", "Service", "Properties.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp", "DISABLED"},
		{"small", "SweepSchedule", "Properties.ScheduleExpression", "rate(1 hour)"},
	} {
		before, after := of(t, []json.RawMessage{template(t, tt.name)}), of(t, edit(t, tt.name, tt.id, tt.path, tt.value))
		if after.Total[0] >= before.Total[0] {
			t.Errorf("%s %s = %v: %s before, %s after", tt.id, tt.path, tt.value, before.Total[0], after.Total[0])
		}
	}
}

func TestGoals(t *testing.T) {
	e := of(t, edit(t, "small", "Scaling", "Properties.MinCapacity", 4))
	if e.Met() || !strings.Contains(strings.Join(e.Remarks, "\n"), "misses its goal of $60.00") {
		t.Errorf("four tasks at %s a month are to miss the goal of small: %v, %q", e.Total[0], e.Met(), e.Remarks)
	}
	var page bytes.Buffer
	if err := cost.Page(&page, []cost.Deployment{e.Deployment}); err != nil || !strings.Contains(page.String(), "| ≤ 60.00 | **no** |") {
		t.Errorf("the page does not say no: %v\n%s", err, page.String())
	}
	if e, err := cost.Of(cost.Deployment{Name: "other", Templates: e.Deployment.Templates}); err != nil || e.Goal != nil || !e.Met() {
		t.Errorf("a deployment without a goal: %v, %v", e, err)
	}
}
