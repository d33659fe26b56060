package main

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
)

const (
	// listenPort is where the relay listens within a task.
	listenPort = 8080
	// storePorts: the first is that of a store's primary, the second that of the
	// readers of ElastiCache Serverless.
	storePort, readerPort = 6379, 6380
)

// network is the VPC and every security group with its rules: they live in one
// stack, because a rule names two groups.
type network struct {
	vpc       awsec2.IVpc
	balancer  awsec2.SecurityGroup // nil without one
	relay     awsec2.SecurityGroup // tasks, or the streamer's function
	functions awsec2.SecurityGroup // the other functions
	store     awsec2.SecurityGroup

	tasks   *awsec2.SubnetSelection // where the relay runs
	private *awsec2.SubnetSelection // functions and store
	public  *awsec2.SubnetSelection // the balancer
}

func newNetwork(stack awscdk.Stack, s *Switches) *network {
	n := &network{
		private: &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		public:  &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PUBLIC},
	}
	n.tasks = n.private
	if s.Egress == Public {
		n.tasks = n.public
	}
	if s.VPC == "" {
		n.vpc = newVPC(stack, s)
	} else {
		n.vpc = awsec2.Vpc_FromVpcAttributes(stack, str("Vpc"), &awsec2.VpcAttributes{
			VpcId: &s.VPC, AvailabilityZones: strs(s.AZs...),
			PublicSubnetIds: strs(s.PublicSubnets...), PrivateSubnetIds: strs(s.PrivateSubnets...),
		})
	}
	n.groups(stack, s)
	return n
}

// newVPC has public and private subnets in each zone, both dual-stack. Private
// ones reach the internet over IPv6, which costs nothing, and over IPv4 with
// egress=nat only.
func newVPC(stack awscdk.Stack, s *Switches) awsec2.Vpc {
	gateways := 0
	if s.Egress == NAT {
		gateways = s.Zones
	}
	vpc := awsec2.NewVpc(stack, str("Vpc"), &awsec2.VpcProps{
		IpProtocol:        awsec2.IpProtocol_DUAL_STACK,
		AvailabilityZones: zones(s),
		NatGateways:       num(gateways),
		SubnetConfiguration: &[]*awsec2.SubnetConfiguration{
			{Name: str("public"), SubnetType: awsec2.SubnetType_PUBLIC, MapPublicIpOnLaunch: no(), CidrMask: num(20)},
			{Name: str("private"), SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS, CidrMask: num(20)},
		},
		GatewayEndpoints: &map[string]*awsec2.GatewayVpcEndpointOptions{
			"S3": {Service: awsec2.GatewayVpcEndpointAwsService_S3()},
		},
		RestrictDefaultSecurityGroup: no(), // it would take a function of its own; nothing uses that group
	})
	if s.Egress == Endpoints {
		interfaceEndpoints(stack, vpc)
	}
	return vpc
}

// zones are those that are named, else the first of the region.
func zones(s *Switches) *[]*string {
	if len(s.AZs) > 0 {
		return strs(s.AZs...)
	}
	all := make([]*string, s.Zones)
	for i := range all {
		all[i] = awscdk.Fn_Select(num(i), awscdk.Fn_GetAzs(str("")))
	}
	return &all
}

// interfaceEndpoints are the AWS services that the relay needs when it reaches
// nothing else.
func interfaceEndpoints(stack awscdk.Stack, vpc awsec2.Vpc) {
	group := awsec2.NewSecurityGroup(stack, str("EndpointGroup"), &awsec2.SecurityGroupProps{
		Vpc: vpc, Description: str("Sluice: interface endpoints"), AllowAllOutbound: no(),
	})
	group.AddIngressRule(awsec2.Peer_Ipv4(vpc.VpcCidrBlock()), awsec2.Port_Tcp(num(443)), str("HTTPS from within the VPC"), no())
	for id, service := range map[string]awsec2.IInterfaceVpcEndpointService{
		"Bedrock": awsec2.InterfaceVpcEndpointAwsService_BEDROCK_RUNTIME(),
		"EcrApi":  awsec2.InterfaceVpcEndpointAwsService_ECR(),
		"Ecr":     awsec2.InterfaceVpcEndpointAwsService_ECR_DOCKER(),
		"Kms":     awsec2.InterfaceVpcEndpointAwsService_KMS(),
		"Logs":    awsec2.InterfaceVpcEndpointAwsService_CLOUDWATCH_LOGS(),
		"Secrets": awsec2.InterfaceVpcEndpointAwsService_SECRETS_MANAGER(),
		"Sts":     awsec2.InterfaceVpcEndpointAwsService_STS(),
		"Xray":    awsec2.InterfaceVpcEndpointAwsService_XRAY(),
	} {
		vpc.AddInterfaceEndpoint(str(id), &awsec2.InterfaceVpcEndpointOptions{
			Service: service, SecurityGroups: &[]awsec2.ISecurityGroup{group}, Open: no(), PrivateDnsEnabled: yes(),
			Subnets: &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		})
	}
}

// groups are the security groups. Clients reach the balancer only, it the tasks
// only, and tasks and functions the store.
func (n *network) groups(stack awscdk.Stack, s *Switches) {
	group := func(id, what string, outbound bool) awsec2.SecurityGroup {
		return awsec2.NewSecurityGroup(stack, str(id), &awsec2.SecurityGroupProps{
			Vpc: n.vpc, Description: str("Sluice: " + what), AllowAllOutbound: &outbound, AllowAllIpv6Outbound: &outbound,
		})
	}
	// What the relay may reach is checked when it dials: vendors are where the
	// operator says they are, on any port.
	n.relay = group("RelayGroup", "the relay", true)
	n.functions = group("FunctionGroup", "scheduled functions", true)
	n.store = group("StoreGroup", "the store", false)
	for _, from := range []awsec2.SecurityGroup{n.relay, n.functions} {
		n.store.AddIngressRule(from, awsec2.Port_TcpRange(num(storePort), num(readerPort)), str("Redis protocol over TLS"), no())
	}
	if s.Streamer != Fargate {
		return
	}
	n.balancer = group("BalancerGroup", "the balancer", false)
	for _, network := range s.Clients {
		peer := awsec2.Peer_Ipv4
		if strings.Contains(network, ":") {
			peer = awsec2.Peer_Ipv6
		}
		n.balancer.AddIngressRule(peer(&network), awsec2.Port_Tcp(num(s.port())), str("clients"), no())
	}
	n.balancer.AddEgressRule(n.relay, awsec2.Port_Tcp(num(listenPort)), str("the relay"), no())
	n.relay.AddIngressRule(n.balancer, awsec2.Port_Tcp(num(listenPort)), str("the balancer"), no())
}

// port is where clients connect to the balancer.
func (s *Switches) port() int {
	if s.secured() {
		return 443
	}
	return 80
}
