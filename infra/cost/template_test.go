package cost_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sluice/infra/cost"
)

// TestErrorsNameTheResourceAndTheFix changes a template so that it cannot be priced.
func TestErrorsNameTheResourceAndTheFix(t *testing.T) {
	join := map[string]any{"Fn::Join": []any{"", []any{"a"}}}
	for name, tt := range map[string]struct {
		templates []json.RawMessage
		want      []string
	}{
		"unknown type":     {with(t, "AWS::RDS::DBInstance", nil), []string{"template 1, Added (AWS::RDS::DBInstance)", "kinds.go"}},
		"no type":          {with(t, "", nil), []string{"Added", "kinds.go"}},
		"unknown node":     {edit(t, "ha", "Store", "Properties.CacheNodeType", "cache.r7g.16xlarge"), []string{"Store (", "node/valkey/cache.r7g.16xlarge", "prices.json"}},
		"unknown engine":   {edit(t, "small", "Store", "Properties.Engine", "memcached"), []string{"memcached", "valkey"}},
		"computed number":  {edit(t, "small", "Task", "Properties.Cpu", join), []string{"Task (", "Cpu", "write it out"}},
		"computed text":    {edit(t, "small", "Balancer", "Properties.Scheme", join), []string{"Balancer (", "Scheme", "write it out"}},
		"computed list":    {edit(t, "small", "Balancer", "Properties.Subnets", join), []string{"Subnets", "write it out"}},
		"fraction":         {edit(t, "small", "Service", "Properties.DesiredCount", 1.5), []string{"DesiredCount", `"1.5"`, "whole number"}},
		"absurd":           {edit(t, "small", "Service", "Properties.DesiredCount", 1_000_000_000), []string{"DesiredCount", "from 0 to 100000"}},
		"negative":         {edit(t, "small", "Sweep", "Properties.MemorySize", -1), []string{"MemorySize", "whole number"}},
		"no size":          {edit(t, "small", "Task", "Properties.Memory", nil), []string{"no Cpu or Memory"}},
		"no task":          {edit(t, "small", "Service", "Properties.TaskDefinition", "elsewhere"), []string{"Service (", "all stacks"}},
		"second service":   {with(t, "AWS::ECS::Service", nil), []string{"second service"}},
		"insights":         {edit(t, "small", "Cluster", "Properties.ClusterSettings", []any{map[string]any{"Name": "containerInsights", "Value": "enhanced"}}), []string{"Container Insights", "disabled"}},
		"network balancer": {edit(t, "small", "Balancer", "Properties.Type", "network"), []string{"network balancer"}},
		"one subnet":       {edit(t, "small", "Balancer", "Properties.Subnets", []any{"a"}), []string{"1 subnets"}},
		"gateway cache":    {edit(t, "lambda", "Stage", "Properties.CacheClusterEnabled", true), []string{"CacheClusterEnabled", "leave it off"}},
		"endpoint":         {with(t, "AWS::EC2::VPCEndpoint", map[string]any{"VpcEndpointType": "GatewayLoadBalancer"}), []string{"GatewayLoadBalancer"}},
		"flow log":         {with(t, "AWS::EC2::FlowLog", map[string]any{"LogDestinationType": "kinesis-data-firehose"}), []string{"kinesis-data-firehose", "use s3"}},
		"schedule":         {edit(t, "small", "SweepSchedule", "Properties.ScheduleExpression", "often"), []string{"SweepSchedule (", `"often"`, "rate(5 minutes)"}},
		"zero target":      {edit(t, "small", "ScalingPolicy", "Properties.TargetTrackingScalingPolicyConfiguration.TargetValue", 0), []string{"TargetValue 0"}},
		"no template":      {nil, []string{"no template"}},
		"no resources":     {[]json.RawMessage{json.RawMessage(`{}`)}, []string{"template 1", "no Resources"}},
		"no JSON":          {[]json.RawMessage{json.RawMessage(`Resources:`)}, []string{"template 1", "no CloudFormation template"}},
	} {
		e, err := cost.Of(cost.Deployment{Name: "small", Templates: tt.templates})
		if err == nil {
			t.Errorf("%s: priced at %s", name, e.Total[0])
			continue
		}
		for _, want := range append(tt.want, "deployment small: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		var page bytes.Buffer
		if err := cost.Page(&page, []cost.Deployment{{Name: "small", Templates: tt.templates}}); err == nil || page.Len() > 0 {
			t.Errorf("%s: the page has %d bytes, %v", name, page.Len(), err)
		}
	}
}

// TestRemarks holds what the page says of a deployment that falls short.
func TestRemarks(t *testing.T) {
	for name, tt := range map[string]struct {
		templates []json.RawMessage
		want      string
	}{
		"too few tasks": {edit(t, "small", "Scaling", "Properties.MaxCapacity", 3), "At 100 M requests it needs 6 tasks of 400 streams; the template allows 3."},
		"small nodes":   {[]json.RawMessage{template(t, "ha")}, "At 100 M requests the store holds about 8,176 MB; 1 × cache.t4g.small has room for 1,027 MB."},
		"waiting":       {[]json.RawMessage{template(t, "lambda")}, "run time alone is $13,333.40 a month"},
		"concurrency":   {[]json.RawMessage{template(t, "lambda")}, "2,284 answers stream at once"},
		"untraced":      {edit(t, "lambda", "Streamer", "Properties.TracingConfig.Mode", "PassThrough"), "not traced"},
		"kept for ever": {edit(t, "small", "Logs", "Properties.RetentionInDays", nil), "Logs keeps its lines for ever"},
		"rotation":      {[]json.RawMessage{template(t, "small")}, "Keys rotate: each costs $1.00 more"},
		"no server":     {[]json.RawMessage{json.RawMessage(`{"Resources": {"Key": {"Type": "AWS::KMS::Key"}}}`)}, "nothing serves requests"},
	} {
		if got := strings.Join(of(t, tt.templates).Remarks, "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: the remarks do not say %q:\n%s", name, tt.want, got)
		}
	}
	if got := of(t, edit(t, "small", "Scaling", "Properties.MaxCapacity", 6)).Remarks; strings.Contains(strings.Join(got, "\n"), "allows") {
		t.Errorf("six tasks are enough: %q", got)
	}
}

// TestTargetOfScalingIsRead halves the streams of a task, which doubles the tasks.
func TestTargetOfScalingIsRead(t *testing.T) {
	at := func(e *cost.Estimate) string { return item(t, e, "Tasks: processor").Quantity[2].String() }
	if got := at(of(t, edit(t, "small", "ScalingPolicy", "Properties.TargetTrackingScalingPolicyConfiguration.TargetValue", 200))); got != "2,190" {
		t.Errorf("12 tasks of 0.25 vCPU run %s vCPU-hours, want 2,190", got)
	}
	other := map[string]any{"TargetValue": 60, "PredefinedMetricSpecification": map[string]any{"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}
	if got := at(of(t, edit(t, "small", "ScalingPolicy", "Properties.TargetTrackingScalingPolicyConfiguration", other))); got != "1,095" {
		t.Errorf("a policy on the processor is no target of streams: %s vCPU-hours, want 1,095", got)
	}
}

// TestWaysOut holds NAT gateways and endpoints against the figures by hand.
func TestWaysOut(t *testing.T) {
	nat := with(t, "AWS::EC2::NatGateway", nil)
	e := of(t, nat)
	if got := item(t, e, "NAT gateway").Cost[0]; got != usd(t, "32.85") {
		t.Errorf("a NAT gateway costs %s", got)
	}
	for _, it := range e.Items {
		if it.Resource == "Data through NAT gateways" {
			t.Errorf("tasks with public addresses do not use the NAT gateway: %s", it.Cost[1])
		}
	}
	private := bytes.Replace(nat[0], []byte(`"ENABLED"`), []byte(`"DISABLED"`), 1)
	if got := item(t, of(t, []json.RawMessage{private}), "Data through NAT gateways").Cost[1]; got != usd(t, "4.95") { // 110 GB
		t.Errorf("110 GB through a NAT gateway cost %s", got)
	}
	zones := map[string]any{"VpcEndpointType": "Interface", "ServiceName": "com.amazonaws.us-east-1.logs", "SubnetIds": []any{"a", "b", "c"}}
	if got := item(t, of(t, with(t, "AWS::EC2::VPCEndpoint", zones)), "Interface endpoint, each zone").Cost[0]; got != usd(t, "21.90") {
		t.Errorf("an endpoint in three zones costs %s", got)
	}
	free := of(t, with(t, "AWS::EC2::VPCEndpoint", map[string]any{"ServiceName": "com.amazonaws.us-east-1.s3"}))
	if plain := of(t, []json.RawMessage{template(t, "small")}); free.Total != plain.Total {
		t.Errorf("a gateway endpoint costs %v instead of %v", free.Total, plain.Total)
	}
}

// TestStacksAreOneDeployment splits the lambda profile so that the API imports its
// function, by an alias, from a stack that comes later.
func TestStacksAreOneDeployment(t *testing.T) {
	api := `{"Resources": {
		"Api": {"Type": "AWS::ApiGateway::RestApi"},
		"Any": {"Type": "AWS::ApiGateway::Method", "Properties": {"Integration": {"ResponseTransferMode": "STREAM",
			"Uri": {"Fn::Join": ["", ["arn:", {"Fn::ImportValue": "compute:Live"}, "/response-streaming-invocations"]]}}}}}}`
	compute := `{
		"Parameters": {"Memory": {"Type": "Number", "Default": 1024}},
		"Resources": {
			"Live": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Streamer"}}},
			"Streamer": {"Type": "AWS::Lambda::Function", "Properties": {"Architectures": ["arm64"], "MemorySize": {"Ref": "Memory"}}}},
		"Outputs": {"Live": {"Value": {"Ref": "Live"}, "Export": {"Name": "compute:Live"}}}}`
	e := of(t, []json.RawMessage{json.RawMessage(api), json.RawMessage(compute)})
	if got := item(t, e, "Streaming function: run time").Quantity[1].String(); got != "20" { // 1 M × 20 s × 1 GB
		t.Errorf("the run time is %s million GB-seconds, want 20", got)
	}
}

// FuzzOf holds that no template crashes the estimate, and that more requests never
// cost less.
func FuzzOf(f *testing.F) {
	for _, resources := range []string{
		`"A": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "A"}}},
			"U": {"Type": "AWS::Lambda::Url", "Properties": {"InvokeMode": "RESPONSE_STREAM", "TargetFunctionArn": {"Ref": "A"}}}`,
		`"A": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "V"}}},
			"V": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "A"}}},
			"U": {"Type": "AWS::Lambda::Url", "Properties": {"InvokeMode": "RESPONSE_STREAM", "TargetFunctionArn": {"Ref": "A"}}}`,
		`"F": {"Type": "AWS::Lambda::Function", "Properties": {"MemorySize": 512}},
			"U": {"Type": "AWS::Lambda::Url", "Properties": {"InvokeMode": "RESPONSE_STREAM", "TargetFunctionArn": {"Fn::GetAtt": ["F", "Arn"]}}},
			"G": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 30}}, "B": {"Type": "AWS::S3::Bucket"}`,
		`"T": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"Cpu": "256", "Memory": "512"}},
			"S": {"Type": "AWS::ECS::Service", "Properties": {"TaskDefinition": {"Ref": "T"}, "DesiredCount": 1}},
			"N": {"Type": "AWS::EC2::NatGateway"}, "L": {"Type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "Properties": {"Subnets": ["a", "b"]}}`,
		`"F": {"Type": "AWS::Lambda::Function"},
			"S": {"Type": "AWS::Scheduler::Schedule", "Properties": {"ScheduleExpression": "cron(0/5 3,4 * * ? *)", "Target": {"Arn": {"Ref": "F"}}}}`,
		`"C": {"Type": "AWS::ElastiCache::ServerlessCache", "Properties": {"Engine": "valkey", "CacheUsageLimits": {"ECPUPerSecond": {"Minimum": 1000}}}}`,
		`"C": {"Type": "AWS::ElastiCache::ReplicationGroup", "Properties": {"Engine": "redis", "CacheNodeType": "cache.t4g.micro", "NumNodeGroups": 2}}`,
	} {
		f.Add([]byte(`{"Parameters": {"P": {"Default": 1}}, "Resources": {` + resources + `}}`))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := cost.Of(cost.Deployment{Name: "small", Templates: []json.RawMessage{raw}})
		if err != nil {
			return
		}
		if e.Total[0] < 0 || e.Total[0] > e.Total[1] || e.Total[1] > e.Total[2] {
			t.Errorf("the totals are %v", e.Total)
		}
	})
}
