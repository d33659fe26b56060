package main

import (
	"strings"
	"testing"
)

// count is the number of resources of a type, in both stacks.
func (d deployment) count(kind string) int { return len(d.all(kind)) }

func TestSmall(t *testing.T) {
	d := synth(t, profiles()[Small])
	for kind, want := range map[string]int{
		"AWS::EC2::NatGateway": 0, "AWS::EC2::VPCEndpoint": 1, "AWS::EC2::Subnet": 4, "AWS::ElastiCache::ServerlessCache": 1,
		"AWS::ECS::Service": 1, "AWS::ElasticLoadBalancingV2::LoadBalancer": 1, "AWS::ApiGateway::RestApi": 0,
	} {
		if got := d.count(kind); got != want {
			t.Errorf("%d × %s, want %d", got, kind, want)
		}
	}
	if got := d.one(t, "AWS::EC2::VPCEndpoint").get("VpcEndpointType"); got != "Gateway" {
		t.Errorf("the endpoint is %v", got)
	}
}

func TestHA(t *testing.T) {
	d := synth(t, profiles()[HA])
	if got := d.count("AWS::EC2::Subnet"); got != 6 {
		t.Errorf("%d subnets, want two in each of three zones", got)
	}
	if got := d.count("AWS::EC2::NatGateway"); got != 0 {
		t.Errorf("%d NAT gateways", got)
	}
	if got := d.one(t, "AWS::ApplicationAutoScaling::ScalableTarget").get("MinCapacity"); got != 2.0 {
		t.Errorf("%v tasks at least", got)
	}
	if got := len(d.one(t, "AWS::ElastiCache::ServerlessCache").get("SubnetIds").([]any)); got != 3 {
		t.Errorf("the store is in %d zones", got)
	}
	nodes := synth(t, variants()["ha, store=nodes"]).one(t, "AWS::ElastiCache::ReplicationGroup")
	if nodes.get("ReplicasPerNodeGroup") != 1.0 || nodes.get("MultiAZEnabled") != true || nodes.get("AutomaticFailoverEnabled") != true {
		t.Errorf("nodes: %v replicas, failover %v", nodes.get("ReplicasPerNodeGroup"), nodes.get("AutomaticFailoverEnabled"))
	}
	if got := synth(t, variants()["ha, store=memorydb"]).one(t, "AWS::MemoryDB::Cluster").get("NumReplicasPerShard"); got != 1.0 {
		t.Errorf("MemoryDB: %v replicas", got)
	}
	if got := d.one(t, "AWS::CertificateManager::Certificate").get("ValidationMethod"); got != "DNS" {
		t.Errorf("the certificate is validated by %v", got)
	}
}

func TestLambda(t *testing.T) {
	d := synth(t, profiles()[Lambda])
	for kind, want := range map[string]int{
		"AWS::EC2::NatGateway": 0, "AWS::EC2::EgressOnlyInternetGateway": 1, "AWS::ECS::Service": 0,
		"AWS::ElasticLoadBalancingV2::LoadBalancer": 0, "AWS::ApiGateway::RestApi": 1, "AWS::Lambda::Url": 0, "AWS::Lambda::Function": 3,
	} {
		if got := d.count(kind); got != want {
			t.Errorf("%d × %s, want %d", got, kind, want)
		}
	}
	for id, r := range d.app.of("AWS::ApiGateway::Method") {
		if r.get("Integration.ResponseTransferMode") != "STREAM" || !strings.Contains(jsonOf(r.get("Integration.Uri")), "/response-streaming-invocations") {
			t.Errorf("%s does not stream: %s", id, jsonOf(r.get("Integration")))
		}
	}
	if got := jsonOf(d.one(t, "AWS::ApiGateway::RestApi").get("BinaryMediaTypes")); got != `["*/*"]` {
		t.Errorf("bodies of %s come as they are", got)
	}
	relay := relayFunction(t, d)
	if relay.get("VpcConfig.Ipv6AllowedForDualStack") != true || relay.get("Environment.Variables.AWS_USE_DUALSTACK_ENDPOINT") != "true" {
		t.Error("the relay reaches no service over IPv6")
	}
	typed := 0
	for id, r := range d.app.of("AWS::ApiGateway::GatewayResponse") {
		if !strings.Contains(jsonOf(r.get("ResponseTemplates")), `{\"type\":\"error\",\"error\":{\"type\":`) {
			t.Errorf("%s: %s", id, jsonOf(r.get("ResponseTemplates")))
		}
		typed++
	}
	if typed < 6 {
		t.Errorf("%d refusals of the gateway have the shape of clients", typed)
	}
}

func TestFunctionURLIsASwitch(t *testing.T) {
	d := synth(t, variants()["lambda, function URL"])
	url := d.one(t, "AWS::Lambda::Url")
	if url.get("AuthType") != "NONE" || url.get("InvokeMode") != "RESPONSE_STREAM" {
		t.Errorf("%s", jsonOf(url.Properties))
	}
	if !strings.Contains(manifest(t, d), "everyone on the internet can start the relay's function") {
		t.Error("no warning")
	}
	if got := d.one(t, "AWS::ApiGateway::DomainName").get("DomainName"); got != "llm.example.com" {
		t.Errorf("the gateway is called %v", got)
	}
}

func TestEgressEndpoints(t *testing.T) {
	d := synth(t, variants()["small, egress=endpoints"])
	interfaces := 0
	for _, r := range d.all("AWS::EC2::VPCEndpoint") {
		if r.get("VpcEndpointType") == "Interface" {
			interfaces++
			if r.get("PrivateDnsEnabled") != true {
				t.Errorf("%s is not found by its usual name", jsonOf(r.get("ServiceName")))
			}
		}
	}
	if interfaces != 8 {
		t.Errorf("%d interface endpoints", interfaces)
	}
}

func TestExistingVPC(t *testing.T) {
	d := synth(t, variants()["small, existing VPC"])
	for _, kind := range []string{"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable"} {
		if n := d.count(kind); n > 0 {
			t.Errorf("makes %d × %s", n, kind)
		}
	}
	if got := jsonOf(d.one(t, "AWS::ElastiCache::ServerlessCache").get("SubnetIds")); got != `["subnet-0000000c","subnet-0000000d"]` {
		t.Errorf("the store is in %s", got)
	}
}

// Without a certificate nobody is let in who was not named.
func TestWithoutCertificate(t *testing.T) {
	for name, want := range map[string]string{
		"no switches":       "nobody can connect",
		"small, plain HTTP": "it serves plain HTTP to 203.0.113.0/24, 2001:db8::/32",
	} {
		d := synth(t, variants()[name])
		if !strings.Contains(manifest(t, d), want) {
			t.Errorf("%s: no warning", name)
		}
		for _, r := range d.data.of("AWS::EC2::SecurityGroup") {
			if rules := listOf(r.get("SecurityGroupIngress")); r.get("GroupDescription") == "Sluice: the balancer" && r.get("SecurityGroupIngress") != nil && len(rules) != len(d.switches.Clients) {
				t.Errorf("%s: lets in %s", name, jsonOf(rules))
			}
		}
	}
}
