package cost

import "fmt"

// A balancer's capacity unit (LCU) is the largest of four measures in an hour,
// https://aws.amazon.com/elasticloadbalancing/pricing/.
const (
	lcuConnections = 25    // new ones a second
	lcuActive      = 3_000 // open ones, by rate and duration as in AWS's examples
	lcuRules       = 1_000 // evaluations a second, beyond
	freeRules      = 10    // rules of a request
)

// balancer prices an ALB: its hours, a public address in each of its subnets
// unless it is internal, and its capacity units.
func balancer(e *estimator, r *resource) error {
	kind, err := r.text("Type", "application")
	if err != nil {
		return err
	}
	if kind != "application" {
		return fmt.Errorf("%s is a %s balancer, which has no price: use an application balancer, or price it in infra/cost/network.go", r, kind)
	}
	scheme, err := r.text("Scheme", "internet-facing")
	if err != nil {
		return err
	}
	addressing, err := r.text("IpAddressType", "ipv4")
	if err != nil {
		return err
	}
	subnets, err := r.list("Subnets")
	if err != nil {
		return err
	}
	if len(subnets) == 0 {
		if subnets, err = r.list("SubnetMappings"); err != nil {
			return err
		}
	}
	if len(subnets) < 2 {
		return fmt.Errorf("%s has %d subnets: an application balancer has 2 or more, list them in Subnets", r, len(subnets))
	}
	if scheme != "internal" && addressing != "dualstack-without-public-ipv4" {
		if err := e.add("Public IPv4 address of the balancer", "ipv4", hourly(int64(len(subnets)))); err != nil {
			return err
		}
	}
	if err := e.add("Load balancer", "alb", hourly(1)); err != nil {
		return err
	}
	rules := int64(len(e.set.of("AWS::ElasticLoadBalancingV2::ListenerRule")))
	return e.add("Capacity of the balancer", "alb-capacity", each(func(_ int, l Load) int64 { return lcuHours(l, rules) }))
}

// lcuHours are the capacity units of a month with an even load, in millionths.
func lcuHours(l Load, rules int64) int64 {
	perHour := func(n, unit int64) int64 { // n in a month at one LCU for unit a second
		return ceil(n*1_000_000, unit*3600)
	}
	return max(
		perHour(l.Requests, lcuConnections),
		perHour(l.Requests*callTime, lcuActive),
		perHour(l.Requests*max(0, rules-freeRules), lcuRules),
		l.Requests*(bodyKB+answerKB), // 1 GB an hour to targets that are no functions
	)
}

func address(e *estimator, _ *resource) error {
	return e.add("Elastic IPv4 address", "ipv4", hourly(1))
}

// nat prices a NAT gateway. Where tasks have no public address, everything to and
// from the vendor passes one.
func nat(e *estimator, _ *resource) error {
	if err := e.add("NAT gateway", "nat", hourly(1)); err != nil {
		return err
	}
	if e.fleet.public {
		return nil
	}
	count := int64(len(e.set.of("AWS::EC2::NatGateway")))
	return e.add("Data through NAT gateways", "nat-data", each(func(_ int, l Load) int64 {
		return l.Requests * (bodyKB + answerKB) / count
	}))
}

// endpoint prices an interface endpoint in each of its zones; a gateway is free.
func endpoint(e *estimator, r *resource) error {
	kind, err := r.text("VpcEndpointType", "Gateway")
	if err != nil || kind == "Gateway" {
		return err
	}
	if kind != "Interface" {
		return fmt.Errorf("%s is a %s endpoint, which has no price: price it in infra/cost/network.go", r, kind)
	}
	zones, err := r.list("SubnetIds")
	if err != nil {
		return err
	}
	if err := e.add("Interface endpoint, each zone", "endpoint", hourly(max(1, int64(len(zones))))); err != nil {
		return err
	}
	if !r.mentions("ServiceName", "bedrock-runtime") {
		return nil
	}
	return e.add("Data through the Bedrock endpoint", "endpoint-data", perRequest(bodyKB+answerKB))
}

func flowLog(e *estimator, r *resource) error {
	to, err := r.text("LogDestinationType", "cloud-watch-logs")
	if err != nil {
		return err
	}
	price, ok := map[string]string{"cloud-watch-logs": "flow-logs-cloudwatch", "s3": "flow-logs-s3"}[to]
	if !ok {
		return fmt.Errorf("%s writes to %s, which has no price: use s3 or cloud-watch-logs", r, to)
	}
	return e.add("Flow logs", price, each(func(_ int, l Load) int64 { return flowLogIdleKB + l.Requests*flowLogKB }))
}

// restAPI prices the requests of a REST API in front of a streaming function: an
// answer below 10 MB is one request.
func restAPI(e *estimator, _ *resource) error {
	if e.fleet.service != nil {
		return e.add("REST API", "rest-api", flat(otherCalls))
	}
	return e.add("REST API", "rest-api", perRequest(1))
}

func stage(e *estimator, r *resource) error {
	if on, ok := r.get("CacheClusterEnabled").(bool); ok && on {
		return fmt.Errorf("%s has CacheClusterEnabled, which has no price: answers of a relay cannot be cached, leave it off", r)
	}
	if r.get("AccessLogSetting") == nil || e.fleet.service != nil {
		return nil
	}
	return e.add("Access log of the REST API", "logs", perRequest(logKB))
}

func httpAPI(e *estimator, _ *resource) error {
	return e.add("HTTP API", "http-api", flat(otherCalls))
}

func webACL(e *estimator, r *resource) error {
	rules, err := r.list("Rules")
	if err != nil {
		return err
	}
	if err := e.add("Web ACL", "web-acl", flat(one)); err != nil {
		return err
	}
	if err := e.add("Rule of the web ACL", "web-acl-rule", flat(Quantity(len(rules))*one)); err != nil {
		return err
	}
	return e.add("Requests through the web ACL", "web-acl-requests", perRequest(1))
}
