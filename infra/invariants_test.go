package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/events"
	"sluice/shared/host"
)

func TestEverythingIsEncrypted(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.all("AWS::S3::Bucket") {
			if got := r.get("BucketEncryption.ServerSideEncryptionConfiguration.0.ServerSideEncryptionByDefault.SSEAlgorithm"); got != "aws:kms" {
				t.Errorf("bucket %s: %v", id, got)
			}
		}
		for id, r := range d.all("AWS::S3::BucketPolicy") {
			if !strings.Contains(jsonOf(r.Properties), `{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny"`) {
				t.Errorf("bucket policy %s lets plain HTTP pass", id)
			}
		}
		for id, r := range d.all("AWS::SQS::Queue") {
			if r.get("SqsManagedSseEnabled") != true {
				t.Errorf("queue %s is not encrypted", id)
			}
		}
		for id, r := range d.all("AWS::KMS::Key") {
			if r.get("EnableKeyRotation") != true {
				t.Errorf("key %s is never rotated", id)
			}
		}
		for id, r := range d.all("AWS::ElastiCache::ReplicationGroup") { // serverless caches always are
			if r.get("AtRestEncryptionEnabled") != true || r.get("TransitEncryptionEnabled") != true || r.get("TransitEncryptionMode") != "required" {
				t.Errorf("store %s is not encrypted", id)
			}
		}
		for id, r := range d.all("AWS::MemoryDB::Cluster") { // at rest they always are
			if r.get("TLSEnabled") != true {
				t.Errorf("store %s has no TLS", id)
			}
		}
		for id, r := range d.all("AWS::ElasticLoadBalancingV2::Listener") {
			plain := r.get("Protocol") == "HTTP"
			if plain == d.switches.secured() || !plain && !strings.HasPrefix(r.get("SslPolicy").(string), "ELBSecurityPolicy-TLS13-1-2") {
				t.Errorf("listener %s: %v with %v", id, r.get("Protocol"), r.get("SslPolicy"))
			}
		}
	})
}

// Nobody signs in to the store with a password, and its user administers nothing.
func TestStoreTakesIAMOnly(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		users := d.all("AWS::ElastiCache::User")
		for id, r := range d.all("AWS::MemoryDB::User") {
			users[id] = r
		}
		if len(users) != 1 {
			t.Errorf("%d users", len(users))
		}
		for id, r := range users {
			if r.get("AuthenticationMode.Type") != "iam" || !strings.Contains(r.get("AccessString").(string), "-@dangerous") {
				t.Errorf("user %s: %v, %v", id, r.get("AuthenticationMode"), r.get("AccessString"))
			}
		}
		for _, kind := range []string{"AWS::ElastiCache::ServerlessCache", "AWS::ElastiCache::ReplicationGroup", "AWS::MemoryDB::Cluster"} {
			for id, r := range d.all(kind) {
				if r.get("UserGroupId") == nil && r.get("UserGroupIds") == nil && r.get("ACLName") == nil {
					t.Errorf("%s has no users: whoever reaches it is in", id)
				}
			}
		}
	})
}

// Each wait is longer than the one within it, so that none cuts another short.
func TestTimeoutsAreOrdered(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		if d.switches.Streamer == Lambda {
			function := relayFunction(t, d)
			timeout := function.get("Timeout").(float64)
			for id, r := range d.all("AWS::ApiGateway::Method") {
				if got := r.get("Integration.TimeoutInMillis"); got != timeout*1000 {
					t.Errorf("%s waits %v ms for a function that may take %v s", id, got, timeout)
				}
			}
			return
		}
		env := environ(t, d)
		streamMax, shutdown := env.StreamMax, env.ShutdownTimeout
		balancer := attributes(d.one(t, "AWS::ElasticLoadBalancingV2::LoadBalancer").get("LoadBalancerAttributes"))
		idle := secondsOf(t, balancer["idle_timeout.timeout_seconds"])
		if idle < 900*time.Second || host.DefaultIdle <= idle {
			t.Errorf("idle: balancer %s, server %s", idle, host.DefaultIdle)
		}
		if idle <= env.HeaderTimeout || idle <= env.StreamIdle {
			t.Errorf("the balancer gives up after %s, the relay after %s and %s", idle, env.HeaderTimeout, env.StreamIdle)
		}
		target := attributes(d.one(t, "AWS::ElasticLoadBalancingV2::TargetGroup").get("TargetGroupAttributes"))
		if drain := secondsOf(t, target["deregistration_delay.timeout_seconds"]); drain < streamMax {
			t.Errorf("streams may last %s, the balancer drains for %s", streamMax, drain)
		}
		stop := relayContainer(t, d)["StopTimeout"].(float64)
		if stop != 120 || shutdown >= time.Duration(stop)*time.Second {
			t.Errorf("the relay shuts down within %s, and is killed after %v s", shutdown, stop)
		}
	})
}

func TestNothingIsPublicButTheEntrance(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.all("AWS::S3::Bucket") {
			for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if r.get("PublicAccessBlockConfiguration."+block) != true {
					t.Errorf("bucket %s: %s is not set", id, block)
				}
			}
		}
		for id, r := range d.all("AWS::EC2::Subnet") {
			if r.get("MapPublicIpOnLaunch") == true {
				t.Errorf("subnet %s gives out public addresses", id)
			}
		}
		for id, r := range d.data.of("AWS::EC2::SecurityGroup") {
			what := r.get("GroupDescription").(string)
			if r.get("SecurityGroupIngress") != nil && what != "Sluice: the balancer" && what != "Sluice: interface endpoints" {
				t.Errorf("%s (%s) lets networks in: %s", id, what, jsonOf(r.get("SecurityGroupIngress")))
			}
		}
		for id, r := range d.data.of("AWS::EC2::SecurityGroupIngress") {
			if r.get("SourceSecurityGroupId") == nil {
				t.Errorf("%s lets in %s", id, jsonOf(r.Properties))
			}
		}
		for id, r := range d.all("AWS::ElastiCache::ServerlessCache") {
			if !strings.Contains(jsonOf(r.get("SubnetIds")), "rivate") && d.switches.VPC == "" {
				t.Errorf("store %s is not in private subnets", id)
			}
		}
		if d.switches.VPC == "" {
			privateRoutes(t, d)
		}
	})
}

// privateRoutes holds that private subnets have no way in from the internet.
func privateRoutes(t *testing.T, d deployment) {
	t.Helper()
	ways := 0
	for id, r := range d.data.of("AWS::EC2::Route") {
		if !strings.Contains(strings.ToLower(id), "private") {
			continue
		}
		ways++
		if r.get("GatewayId") != nil {
			t.Errorf("route %s leads to the internet gateway", id)
		}
	}
	if ways < d.switches.Zones {
		t.Errorf("%d routes of private subnets in %d zones", ways, d.switches.Zones)
	}
}

// Rules name two groups; were they in two stacks, neither could be replaced.
func TestRulesLiveWithTheirGroups(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.app.Resources {
			if strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") {
				t.Errorf("SluiceApp has %s %s", r.Type, id)
			}
		}
		for name, stack := range map[string]template{"SluiceData": d.data, "SluiceApp": d.app} {
			for id, o := range stack.Outputs {
				if o["Export"] != nil {
					t.Errorf("%s exports %s, which then cannot be replaced", name, id)
				}
			}
			if strings.Contains(string(stack.raw), "Fn::ImportValue") {
				t.Errorf("%s imports a value", name)
			}
		}
	})
}

func TestDataIsKept(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.data.Resources {
			if r.DeletionPolicy != "Retain" {
				t.Errorf("%s %s goes with the stack", r.Type, id)
			}
		}
		for _, kind := range []string{"AWS::S3::Bucket", "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::ElastiCache::ServerlessCache", "AWS::ElastiCache::ReplicationGroup", "AWS::MemoryDB::Cluster"} {
			for id, r := range d.all(kind) {
				if r.UpdateReplacePolicy != "Retain" {
					t.Errorf("%s %s is deleted when it is replaced", kind, id)
				}
			}
		}
		b, err := os.ReadFile(filepath.Join(d.dir, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		var manifest any
		if err := json.Unmarshal(b, &manifest); err != nil {
			t.Fatal(err)
		}
		if get(manifest, "artifacts.SluiceData.properties.terminationProtection") != true {
			t.Error("SluiceData can be deleted by mistake")
		}
	})
}

func TestTasksScaleOnStreams(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		if d.switches.Streamer != Fargate {
			return
		}
		found := map[string]bool{}
		for id, r := range d.app.of("AWS::ApplicationAutoScaling::ScalingPolicy") {
			c := r.get("TargetTrackingScalingPolicyConfiguration")
			if get(c, "PredefinedMetricSpecification.PredefinedMetricType") == "ECSServiceAverageCPUUtilization" {
				found["cpu"] = true
				continue
			}
			m := get(c, "CustomizedMetricSpecification")
			if get(m, "MetricName") != streamsMetric || get(m, "Namespace") != metricNamespace || get(m, "Statistic") != "Average" ||
				get(m, "Dimensions.0.Name") != "Service" || get(m, "Dimensions.0.Value") != "relay" || get(c, "TargetValue") != float64(d.switches.StreamsPerTask) {
				t.Errorf("%s: %s", id, jsonOf(c))
			}
			found["streams"] = true
		}
		if !found["cpu"] || !found["streams"] {
			t.Errorf("scales on %v", found)
		}
		target := d.one(t, "AWS::ApplicationAutoScaling::ScalableTarget")
		if target.get("MinCapacity") != float64(d.switches.TasksMin) || target.get("MaxCapacity") != float64(d.switches.TasksMax) {
			t.Errorf("scales between %v and %v", target.get("MinCapacity"), target.get("MaxCapacity"))
		}
		if environ(t, d).EMFEvery > time.Minute {
			t.Error("the figure that it scales on is written less than once a minute")
		}
	})
}

func TestServiceIsSafeToDeploy(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		if d.switches.Streamer != Fargate {
			return
		}
		service := d.one(t, "AWS::ECS::Service")
		c := service.get("DeploymentConfiguration")
		if get(c, "DeploymentCircuitBreaker.Enable") != true || get(c, "DeploymentCircuitBreaker.Rollback") != true || get(c, "MinimumHealthyPercent") != 100.0 {
			t.Errorf("deploys with %s", jsonOf(c))
		}
		if service.get("DesiredCount") != nil {
			t.Error("a deployment resets the number of tasks that scaling chose")
		}
		public := service.get("NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp")
		if (public == "ENABLED") != (d.switches.Egress == Public) {
			t.Errorf("public addresses: %v", public)
		}
		relay := relayContainer(t, d)
		if image := jsonOf(relay["Image"]); !strings.Contains(image, "@sha256:abab") || !strings.Contains(image, "cdk-hnb659fds-container-assets-") {
			t.Errorf("image %s", image)
		}
		if relay["ReadonlyRootFilesystem"] != true {
			t.Error("the relay can write to its image")
		}
		target := d.one(t, "AWS::ElasticLoadBalancingV2::TargetGroup")
		if target.get("HealthCheckPath") != "/readyz" {
			t.Errorf("health is asked at %v", target.get("HealthCheckPath"))
		}
		balancer := attributes(d.one(t, "AWS::ElasticLoadBalancingV2::LoadBalancer").get("LoadBalancerAttributes"))
		if balancer["routing.http2.enabled"] != "true" {
			t.Error("the balancer speaks no HTTP/2")
		}
		daemon := strings.Contains(jsonOf(d.one(t, "AWS::ECS::TaskDefinition").Properties), "aws-xray-daemon")
		if daemon != (d.switches.Egress != Endpoints) || daemon != environ(t, d).Trace {
			t.Errorf("X-Ray daemon: %v", daemon)
		}
	})
}

func TestEveryQueueHasOrIsADeadLetterQueue(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		var takesFailures strings.Builder
		for _, kind := range []string{"AWS::Lambda::Function", "AWS::Scheduler::Schedule", "AWS::SQS::Queue"} {
			for _, r := range d.all(kind) {
				takesFailures.WriteString(jsonOf([]any{r.get("DeadLetterConfig"), r.get("Target.DeadLetterConfig"), r.get("RedrivePolicy")}))
			}
		}
		for id, r := range d.all("AWS::SQS::Queue") {
			if r.get("RedrivePolicy") == nil && !strings.Contains(takesFailures.String(), `"`+id+`"`) {
				t.Errorf("queue %s loses what cannot be delivered", id)
			}
		}
		for id, r := range d.all("AWS::Scheduler::Schedule") {
			if r.get("Target.DeadLetterConfig") == nil {
				t.Errorf("schedule %s loses what cannot be delivered", id)
			}
		}
	})
}

func TestEverythingRunsOnGraviton(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.all("AWS::Lambda::Function") {
			if r.get("Architectures.0") != "arm64" || r.get("Runtime") != "provided.al2023" {
				t.Errorf("%s: %v on %v", id, r.get("Runtime"), r.get("Architectures"))
			}
		}
		for id, r := range d.all("AWS::ECS::TaskDefinition") {
			if r.get("RuntimePlatform.CpuArchitecture") != "ARM64" {
				t.Errorf("%s: %v", id, r.get("RuntimePlatform"))
			}
		}
		for _, kind := range []string{"AWS::ElastiCache::ReplicationGroup", "AWS::MemoryDB::Cluster"} {
			for id, r := range d.all(kind) {
				node, _ := r.get("CacheNodeType").(string)
				if node == "" {
					node, _ = r.get("NodeType").(string)
				}
				if !strings.Contains(node, "g.") {
					t.Errorf("%s: %s", id, node)
				}
			}
		}
	})
}

func TestLogsEnd(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.all("AWS::Logs::LogGroup") {
			if r.get("RetentionInDays") != float64(d.switches.LogDays) {
				t.Errorf("%s is kept for %v days", id, r.get("RetentionInDays"))
			}
		}
		for id, r := range d.all("AWS::Lambda::Function") {
			if r.get("LoggingConfig.LogGroup") == nil {
				t.Errorf("%s logs to a group that is kept for ever", id)
			}
		}
	})
}

// The settings that a deployment gives are read as the relay reads them.
func TestSettingsAreRead(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		c := environ(t, d)
		if c.RedisIAM != d.switches.Store+"/sluice" || c.KMSKey == "" || c.LateQueue == "" || c.ConfigBucket == "" || c.AdminSecret == "" || c.EMFEvery == 0 {
			t.Errorf("%+v", c)
		}
		if want := d.switches.Env["SLUICE_ATTEMPTS"]; want != "" && strconv.Itoa(c.Attempts) != want {
			t.Errorf("SLUICE_ATTEMPTS: %d", c.Attempts)
		}
	})
}

func TestSchedulesSendTicks(t *testing.T) {
	var jobs []string
	for _, r := range synth(t, profiles()[Small]).all("AWS::Scheduler::Schedule") {
		input := r.get("Target.Input").(string)
		input = strings.ReplaceAll(input, "<aws.scheduler.scheduled-time>", "2026-11-26T18:30:00Z") // as Scheduler does
		dec := json.NewDecoder(strings.NewReader(input))
		dec.DisallowUnknownFields()
		var tick events.Tick
		if err := dec.Decode(&tick); err != nil || tick.Scheduled.IsZero() {
			t.Errorf("%s: %+v, %v", input, tick, err)
		}
		jobs = append(jobs, tick.Job)
	}
	slices.Sort(jobs)
	if !slices.Equal(jobs, []string{"rollup", "sweep"}) {
		t.Errorf("jobs %v", jobs)
	}
}
