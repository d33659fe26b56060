package cost

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice/shared/money"
)

// needs are the properties without which a type has no price.
var needs = map[string]string{
	"AWS::ElasticLoadBalancingV2::LoadBalancer": `{"Subnets": ["a", "b"]}`,
	"AWS::EC2::VPCEndpoint":                     `{"VpcEndpointType": "Interface", "SubnetIds": ["a"], "ServiceName": "com.amazonaws.us-east-1.bedrock-runtime"}`,
	"AWS::WAFv2::WebACL":                        `{"Rules": [{}, {}]}`,
	"AWS::Scheduler::Schedule":                  `{"ScheduleExpression": "rate(5 minutes)"}`,
	"AWS::ElastiCache::ServerlessCache":         `{"Engine": "redis", "SnapshotRetentionLimit": 1}`,
	"AWS::ElastiCache::ReplicationGroup":        `{"CacheNodeType": "cache.t4g.micro", "Engine": "valkey"}`,
	"AWS::MemoryDB::Cluster":                    `{"NodeType": "db.t4g.small", "Engine": "valkey"}`,
	"AWS::SSM::Parameter":                       `{"Tier": "Advanced"}`,
	"AWS::ApiGateway::Stage":                    `{"AccessLogSetting": {"DestinationArn": "a"}}`,
	"AWS::ApplicationAutoScaling::ScalingPolicy": `{"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 400,
		"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}}`,
}

// streaming is a function that streams, so that a template has something to serve with.
const streaming = `"Streamer": {"Type": "AWS::Lambda::Function", "Properties": {"MemorySize": 512}},
	"Url": {"Type": "AWS::Lambda::Url", "Properties": {"InvokeMode": "RESPONSE_STREAM", "TargetFunctionArn": {"Fn::GetAtt": ["Streamer", "Arn"]}}}`

func doc(resources string) Deployment {
	return Deployment{Name: "test", Templates: []json.RawMessage{json.RawMessage(`{"Resources": {` + resources + `}}`)}}
}

// TestEveryKindIsPricedOrFree puts each known type into a template of its own. A
// type with a pricer must add to the bill, one without must not.
func TestEveryKindIsPricedOrFree(t *testing.T) {
	base, err := Of(doc(streaming))
	if err != nil {
		t.Fatal(err)
	}
	silent := []string{"AWS::ECS::Cluster"} // a check, no price
	for kind, price := range kinds() {
		if kind == "AWS::ECS::Service" || kind == "AWS::S3::Bucket" || kind == "AWS::Logs::LogGroup" {
			continue // in the profiles
		}
		properties := needs[kind]
		if properties == "" {
			properties = "{}"
		}
		e, err := Of(doc(streaming + fmt.Sprintf(`, "X": {"Type": %q, "Properties": %s}`, kind, properties)))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		costs := e.Total[2] > base.Total[2]
		if want := price != nil && !slices.Contains(silent, kind); costs != want {
			t.Errorf("%s costs something: %t, want %t (%s instead of %s)", kind, costs, want, e.Total[2], base.Total[2])
		}
	}
}

// TestNoPriceIsDead finds prices that nothing asks for.
func TestNoPriceIsDead(t *testing.T) {
	used := map[string]bool{}
	collect := func(d Deployment) {
		t.Helper()
		e, err := Of(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range e.Items {
			used[it.Price.Key] = true
		}
	}
	for kind := range kinds() {
		if kind == "AWS::ECS::Service" {
			continue
		}
		properties := needs[kind]
		if properties == "" {
			properties = "{}"
		}
		collect(doc(streaming + fmt.Sprintf(`, "X": {"Type": %q, "Properties": %s}`, kind, properties)))
	}
	collect(doc(streaming + `, "Flow": {"Type": "AWS::EC2::FlowLog", "Properties": {"LogDestinationType": "s3"}}`))
	collect(doc(streaming + `, "Db": {"Type": "AWS::MemoryDB::Cluster", "Properties": {"NodeType": "db.t4g.small", "Engine": "redis"}}`))
	for _, name := range []string{"small", "lambda"} {
		raw, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		collect(Deployment{Name: name, Templates: []json.RawMessage{raw}})
		collect(Deployment{Name: name, Templates: []json.RawMessage{json.RawMessage(strings.ReplaceAll(string(raw), "ARM64", "X86_64"))}})
	}
	prices, err := Prices()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prices {
		if !used[p.Key] && !strings.HasPrefix(p.Key, "node/") {
			t.Errorf("nothing uses the price %s", p.Key)
		}
	}
}

func TestPriceFileIsRefused(t *testing.T) {
	const good = `{"key": "a", "usd": "1", "unit": "hour", "by": "AWS", "source": "x", "date": "2026"}`
	if p, err := readPrices([]byte(`{"prices": [` + good + `]}`)); err != nil || len(p) != 1 || p[0].USD != money.Dollar {
		t.Fatalf("%v, %v", p, err)
	}
	for change, want := range map[string][2]string{
		"no source":  {`"source": "x"`, `"source": ""`},
		"no price":   {`"usd": "1"`, `"usd": "0"`},
		"a number":   {`"usd": "1"`, `"usd": 1`},
		"no unit":    {`"unit": "hour"`, `"unit": ""`},
		"no date":    {`"date": "2026"`, `"date": ""`},
		"hearsay":    {`"by": "AWS"`, `"by": "a friend"`},
		"misspelled": {`"date"`, `"dates"`},
		"no key":     {`"key": "a"`, `"key": ""`},
		"twice":      {good, good + "," + good},
	} {
		if _, err := readPrices([]byte(`{"prices": [` + strings.Replace(good, want[0], want[1], 1) + `]}`)); err == nil || !strings.Contains(err.Error(), "prices.json") {
			t.Errorf("a price file with %s: %v", change, err)
		}
	}
}

func TestScheduleExpressions(t *testing.T) {
	for text, want := range map[string]int64{
		"rate(1 minute)": 43_800, "rate(5 minutes)": 8_760, "rate(1 hour)": 730, "rate(2 days)": 16, "at(2026-12-01T00:00:00)": 1,
		"cron(0 3 * * ? *)": 31, "cron(*/15 * * * ? *)": 2_920, "cron(0/5 * * * ? *)": 8_760, "cron(* * * * ? *)": 43_800,
		"cron(0,30 8-17 ? * MON-FRI *)": 609, "cron(10/20 * * * ? *)": 2_190,
	} {
		r := &resource{stack: &stack{}, properties: map[string]any{"ScheduleExpression": text}}
		if got, err := runsPerMonth(r); err != nil || got != want {
			t.Errorf("%s runs %d times, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "rate(0 minutes)", "rate(5 fortnights)", "rate(5)", "cron(0 3 * * *)", "cron(x 3 * * ? *)",
		"cron(*/0 * * * ? *)", "cron(5-2 * * * ? *)", "cron(0 1-24 * * ? *)", "daily", "rate(99999999 minutes)"} {
		r := &resource{stack: &stack{}, properties: map[string]any{"ScheduleExpression": text}}
		if got, err := runsPerMonth(r); err == nil || !strings.Contains(err.Error(), "write it as") {
			t.Errorf("%q runs %d times, %v", text, got, err)
		}
	}
}

func TestAmounts(t *testing.T) {
	for n, want := range map[money.Nanos]string{
		0: "0.00", 1: "< 0.01", 4_999_999: "< 0.01", 5_000_000: "0.01", 14_999_999: "0.01", 1_234_567_890_000_000: "1,234,567.89", 999_995_000_000: "1,000.00",
	} {
		if got := cents(n); got != want {
			t.Errorf("%d is written %s, want %s", int64(n), got, want)
		}
	}
	for q, want := range map[Quantity]string{
		0: "0", 1: "0.000001", 250_000: "0.25", one: "1", 182_500_000: "182.5", 5_968_966_667: "5,968.97", 1_999_999: "2", 30_000_000_000: "30,000",
	} {
		if got := q.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(q), got, want)
		}
	}
}

// TestCapacityIsTheLargestMeasure holds each measure of an LCU against a load that it decides.
func TestCapacityIsTheLargestMeasure(t *testing.T) {
	l := Load{Requests: 100_000_000}
	if got := lcuHours(l, 0); got != 11_000_000_000 {
		t.Errorf("by bytes: %d", got)
	}
	// With 1,010 rules, each request is 1,000 evaluations: 100 M × 1,000 ÷ 3.6 M.
	if got := lcuHours(l, 1_010); got != 27_777_777_778 {
		t.Errorf("by rules: %d", got)
	}
	if got := lcuHours(l, freeRules); got != 11_000_000_000 {
		t.Errorf("ten rules are free: %d", got)
	}
}

func TestTasksFollowStreams(t *testing.T) {
	for _, tt := range []struct{ requests, want int64 }{{0, 0}, {1, 1}, {1_000_000, 23}, {100_000_000, 2_284}} {
		if got := streams(Load{Requests: tt.requests}); got != tt.want {
			t.Errorf("%d requests a month are %d streams, want %d", tt.requests, got, tt.want)
		}
	}
}
