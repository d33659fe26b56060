package main

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapplicationautoscaling"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscertificatemanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsroute53"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsroute53targets"
)

const (
	taskCPU    = 512  // units of 1/1,024 vCPU
	taskMemory = 1024 // MiB
	daemonMiB  = 64   // of it, for the X-Ray daemon
	// goMemory leaves the rest of the task to stacks and the kernel's buffers.
	goMemory = "800MiB"
	// balancerIdle is below host's own 16 min: of two ends that reuse a
	// connection, the one that sends must be the first to give it up.
	balancerIdle = 900 // seconds
	xrayDaemon   = "public.ecr.aws/xray/aws-xray-daemon:3.7.0"
)

// newService is the relay as a Fargate service behind a balancer.
func newService(stack awscdk.Stack, s *Switches, b Built, h *held, a *alarms) {
	task := newTask(stack, s, b, h)
	cluster := awsecs.NewCluster(stack, str("RelayCluster"), &awsecs.ClusterProps{
		Vpc: h.net.vpc, ContainerInsightsV2: awsecs.ContainerInsights_DISABLED,
	})
	service := awsecs.NewFargateService(stack, str("RelayService"), &awsecs.FargateServiceProps{
		Cluster: cluster, TaskDefinition: task,
		AssignPublicIp: ptr(s.Egress == Public), VpcSubnets: h.net.tasks,
		SecurityGroups:         &[]awsec2.ISecurityGroup{imported(stack, "RelayGroup", h.net.relay)},
		MinHealthyPercent:      num(100),
		MaxHealthyPercent:      num(200),
		CircuitBreaker:         &awsecs.DeploymentCircuitBreaker{Enable: yes(), Rollback: yes()},
		HealthCheckGracePeriod: awscdk.Duration_Seconds(num(60)),
		EnableExecuteCommand:   no(),
		PropagateTags:          awsecs.PropagatedTagSource_SERVICE,
	})
	balancer, target := newBalancer(stack, s, h, service)
	scale(s, service)
	a.service(stack, balancer, target)
	output(stack, "Cluster", cluster.ClusterName())
	output(stack, "Service", service.ServiceName())
}

func newTask(stack awscdk.Stack, s *Switches, b Built, h *held) awsecs.FargateTaskDefinition {
	logs := logGroup(stack, "RelayLogs", s)
	role := awsiam.NewRole(stack, str("RelayRole"), &awsiam.RoleProps{AssumedBy: service("ecs-tasks.amazonaws.com")})
	for _, statement := range relayMay(s, h) {
		role.AddToPolicy(statement)
	}
	task := awsecs.NewFargateTaskDefinition(stack, str("Task"), &awsecs.FargateTaskDefinitionProps{
		Cpu: num(taskCPU), MemoryLimitMiB: num(taskMemory), TaskRole: role,
		RuntimePlatform: &awsecs.RuntimePlatform{
			CpuArchitecture: awsecs.CpuArchitecture_ARM64(), OperatingSystemFamily: awsecs.OperatingSystemFamily_LINUX(),
		},
	})
	daemon := s.Egress != Endpoints // its image is on the internet
	env := with(relaySettings(s, h), map[string]*string{
		"SLUICE_LISTEN":           str(":%d", listenPort),
		"SLUICE_SHUTDOWN_TIMEOUT": str(shutdown.String()),
		"SLUICE_TRACE":            str("%t", daemon),
		"GOMEMLIMIT":              str(goMemory),
	})
	repository := awsecr.Repository_FromRepositoryAttributes(stack, str("Bootstrap"), &awsecr.RepositoryAttributes{
		RepositoryName: str("cdk-%s-container-assets-%s-%s", s.Qualifier, *stack.Account(), *stack.Region()),
		RepositoryArn: str("arn:%s:ecr:%s:%s:repository/cdk-%s-container-assets-%s-%s",
			*stack.Partition(), *stack.Region(), *stack.Account(), s.Qualifier, *stack.Account(), *stack.Region()),
	})
	task.AddContainer(str("relay"), &awsecs.ContainerDefinitionOptions{
		Image:                  awsecs.ContainerImage_FromEcrRepository(repository, &b.Digest),
		Environment:            env,
		PortMappings:           &[]*awsecs.PortMapping{{ContainerPort: num(listenPort)}},
		StopTimeout:            seconds(stopTimeout),
		ReadonlyRootFilesystem: yes(),
		Logging:                driver(logs, "relay"),
		Ulimits:                &[]*awsecs.Ulimit{{Name: awsecs.UlimitName_NOFILE, SoftLimit: num(65536), HardLimit: num(65536)}},
	})
	if daemon {
		task.AddContainer(str("xray"), &awsecs.ContainerDefinitionOptions{
			Image:                  awsecs.ContainerImage_FromRegistry(str(xrayDaemon), nil),
			Essential:              no(), // traces are worth no stream
			MemoryLimitMiB:         num(daemonMiB),
			PortMappings:           &[]*awsecs.PortMapping{{ContainerPort: num(2000), Protocol: awsecs.Protocol_UDP}},
			ReadonlyRootFilesystem: yes(),
			Logging:                driver(logs, "xray"),
		})
	}
	return task
}

// driver never holds up the relay: what a full buffer drops are log lines.
func driver(logs awslogs.LogGroup, prefix string) awsecs.LogDriver {
	return awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{
		LogGroup: logs, StreamPrefix: str(prefix), Mode: awsecs.AwsLogDriverMode_NON_BLOCKING,
		MaxBufferSize: awscdk.Size_Mebibytes(num(16)),
	})
}

// imported is a group of SluiceData, whose rules stay there.
func imported(stack awscdk.Stack, id string, group awsec2.SecurityGroup) awsec2.ISecurityGroup {
	return awsec2.SecurityGroup_FromSecurityGroupId(stack, str(id), group.SecurityGroupId(), &awsec2.SecurityGroupImportOptions{
		Mutable: no(),
	})
}

func newBalancer(stack awscdk.Stack, s *Switches, h *held, service awsecs.FargateService) (awselasticloadbalancingv2.ApplicationLoadBalancer, awselasticloadbalancingv2.ApplicationTargetGroup) {
	balancer := awselasticloadbalancingv2.NewApplicationLoadBalancer(stack, str("RelayBalancer"), &awselasticloadbalancingv2.ApplicationLoadBalancerProps{
		Vpc: h.net.vpc, InternetFacing: yes(), VpcSubnets: h.net.public,
		SecurityGroup: imported(stack, "BalancerGroup", h.net.balancer),
		IpAddressType: addresses(s),
		IdleTimeout:   awscdk.Duration_Seconds(num(balancerIdle)), Http2Enabled: yes(),
		DropInvalidHeaderFields: yes(), DesyncMitigationMode: awselasticloadbalancingv2.DesyncMitigationMode_DEFENSIVE,
	})
	target := awselasticloadbalancingv2.NewApplicationTargetGroup(stack, str("Target"), &awselasticloadbalancingv2.ApplicationTargetGroupProps{
		Vpc: h.net.vpc, Port: num(listenPort), Protocol: awselasticloadbalancingv2.ApplicationProtocol_HTTP,
		TargetType:                 awselasticloadbalancingv2.TargetType_IP,
		DeregistrationDelay:        seconds(s.StreamMax + drainMargin),
		LoadBalancingAlgorithmType: awselasticloadbalancingv2.TargetGroupLoadBalancingAlgorithmType_LEAST_OUTSTANDING_REQUESTS,
		HealthCheck: &awselasticloadbalancingv2.HealthCheck{
			Path: str("/readyz"), Interval: awscdk.Duration_Seconds(num(10)), Timeout: awscdk.Duration_Seconds(num(5)),
			HealthyThresholdCount: num(2), UnhealthyThresholdCount: num(3),
		},
		Targets: &[]awselasticloadbalancingv2.IApplicationLoadBalancerTarget{
			service.LoadBalancerTarget(&awsecs.LoadBalancerTargetOptions{ContainerName: str("relay"), ContainerPort: num(listenPort)}),
		},
	})
	listener := &awselasticloadbalancingv2.BaseApplicationListenerProps{
		Port: num(s.port()), Protocol: awselasticloadbalancingv2.ApplicationProtocol_HTTP, Open: no(),
		DefaultTargetGroups: &[]awselasticloadbalancingv2.IApplicationTargetGroup{target},
	}
	if certificate := newCertificate(stack, s); certificate != nil {
		listener.Protocol = awselasticloadbalancingv2.ApplicationProtocol_HTTPS
		listener.SslPolicy = awselasticloadbalancingv2.SslPolicy_TLS13_RES
		listener.Certificates = &[]awselasticloadbalancingv2.IListenerCertificate{awselasticloadbalancingv2.ListenerCertificate_FromCertificateManager(certificate)}
	}
	balancer.AddListener(str("Listener"), listener)
	output(stack, "Balancer", balancer.LoadBalancerDnsName())
	if s.secured() {
		named(stack, s, awsroute53targets.NewLoadBalancerTarget(balancer, nil), balancer.LoadBalancerDnsName())
	} else {
		unsecured(stack, s, balancer)
	}
	return balancer, target
}

// unsecured is a balancer without TLS, for trying out.
func unsecured(stack awscdk.Stack, s *Switches, balancer awselasticloadbalancingv2.ApplicationLoadBalancer) {
	output(stack, "Endpoint", str("http://%s", *balancer.LoadBalancerDnsName()))
	who := "nobody can connect"
	if len(s.Clients) > 0 {
		who = "it serves plain HTTP to " + strings.Join(s.Clients, ", ")
	}
	awscdk.Annotations_Of(stack).AddWarningV2(str("sluice:unsecured"), str("the balancer has no certificate, so "+who+
		": set certificate=ARN, or domain=NAME and zone=ID to have one issued, or clients=NETWORK to try it out without TLS; profile=lambda needs no domain"))
}

// addresses of the balancer: IPv6 too, where the subnets are known to have it.
func addresses(s *Switches) awselasticloadbalancingv2.IpAddressType {
	if s.VPC == "" {
		return awselasticloadbalancingv2.IpAddressType_DUAL_STACK
	}
	return awselasticloadbalancingv2.IpAddressType_IPV4
}

// named gives the relay its name, where the zone is known, and says its address.
func named(stack awscdk.Stack, s *Switches, target awsroute53.IAliasRecordTarget, otherwise *string) {
	if s.Zone != "" {
		zone := awsroute53.HostedZone_FromHostedZoneAttributes(stack, str("Zone"), &awsroute53.HostedZoneAttributes{
			HostedZoneId: &s.Zone, ZoneName: &s.Domain,
		})
		awsroute53.NewARecord(stack, str("Name"), &awsroute53.ARecordProps{
			Zone: zone, RecordName: str("%s.", s.Domain), Target: awsroute53.RecordTarget_FromAlias(target),
		})
		if s.Streamer == Fargate && addresses(s) == awselasticloadbalancingv2.IpAddressType_DUAL_STACK {
			awsroute53.NewAaaaRecord(stack, str("Name6"), &awsroute53.AaaaRecordProps{
				Zone: zone, RecordName: str("%s.", s.Domain), Target: awsroute53.RecordTarget_FromAlias(target),
			})
		}
	}
	if s.Domain != "" {
		otherwise = &s.Domain
	}
	output(stack, "Endpoint", str("https://%s", *otherwise))
}

// newCertificate is that of the switches, or one that is issued for the domain.
func newCertificate(stack awscdk.Stack, s *Switches) awscertificatemanager.ICertificate {
	switch {
	case s.Certificate != "":
		return awscertificatemanager.Certificate_FromCertificateArn(stack, str("Certificate"), &s.Certificate)
	case s.Zone != "":
		zone := awsroute53.HostedZone_FromHostedZoneId(stack, str("CertificateZone"), &s.Zone)
		return awscertificatemanager.NewCertificate(stack, str("Certificate"), &awscertificatemanager.CertificateProps{
			DomainName: &s.Domain, Validation: awscertificatemanager.CertificateValidation_FromDns(zone),
		})
	}
	return nil
}

// scale follows the streams in flight: waiting streams take no CPU, and yet a task
// holds only so many. CPU is watched for everything else.
func scale(s *Switches, service awsecs.FargateService) {
	scaling := service.AutoScaleTaskCount(&awsapplicationautoscaling.EnableScalingProps{
		MinCapacity: num(s.TasksMin), MaxCapacity: num(s.TasksMax),
	})
	scaling.ScaleToTrackCustomMetric(str("Streams"), &awsecs.TrackCustomMetricProps{
		Metric: awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
			Namespace: str(metricNamespace), MetricName: str(streamsMetric),
			DimensionsMap: &map[string]*string{"Service": str("relay")},
			Statistic:     str("Average"), // each task writes its own figure
			Period:        awscdk.Duration_Minutes(num(1)),
		}),
		TargetValue:      num(s.StreamsPerTask),
		ScaleOutCooldown: awscdk.Duration_Seconds(num(60)),
		ScaleInCooldown:  awscdk.Duration_Minutes(num(10)),
	})
	scaling.ScaleOnCpuUtilization(str("Cpu"), &awsecs.CpuUtilizationScalingProps{
		TargetUtilizationPercent: num(60),
		ScaleOutCooldown:         awscdk.Duration_Seconds(num(60)),
		ScaleInCooldown:          awscdk.Duration_Minutes(num(10)),
	})
}

func ptr[T any](v T) *T { return &v }
