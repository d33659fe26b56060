package cost

import "strings"

// pricer adds the lines of one resource.
type pricer func(e *estimator, r *resource) error

// kinds are the known types of resources: what prices one, or nil for a type that
// costs nothing of itself or whose cost another line has.
func kinds() map[string]pricer {
	all := map[string]pricer{
		"AWS::EC2::NatGateway":                      nat,
		"AWS::EC2::EIP":                             address,
		"AWS::EC2::VPCEndpoint":                     endpoint,
		"AWS::EC2::FlowLog":                         flowLog,
		"AWS::ElasticLoadBalancingV2::LoadBalancer": balancer,
		"AWS::ApiGateway::RestApi":                  restAPI,
		"AWS::ApiGateway::Stage":                    stage,
		"AWS::ApiGatewayV2::Api":                    httpAPI,
		"AWS::WAFv2::WebACL":                        webACL,
		"AWS::Route53::HostedZone":                  monthly("DNS zone", "hosted-zone"),

		"AWS::ECS::Cluster":                          cluster,
		"AWS::ECS::Service":                          service,
		"AWS::ApplicationAutoScaling::ScalingPolicy": scalingPolicy,
		"AWS::Lambda::Function":                      function,
		"AWS::Lambda::EventSourceMapping":            eventSource,
		"AWS::Scheduler::Schedule":                   schedule,
		"AWS::ECR::Repository":                       repository,

		"AWS::ElastiCache::ServerlessCache":  serverlessCache,
		"AWS::ElastiCache::ReplicationGroup": replicationGroup,
		"AWS::MemoryDB::Cluster":             memoryDB,
		"AWS::KMS::Key":                      key,
		"AWS::SecretsManager::Secret":        monthly("Secret", "secret"),
		"AWS::SSM::Parameter":                parameter,

		"AWS::CloudWatch::Alarm":     alarm,
		"AWS::CloudWatch::Dashboard": monthly("Dashboard", "dashboard"),
		"AWS::Logs::MetricFilter":    monthly("Metric of a log filter", "metric"),
		"AWS::Events::EventBus":      eventBus,
	}
	for _, kind := range free() {
		all[kind] = nil
	}
	return all
}

// free are the types without a line of their own.
func free() []string {
	return []string{
		"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation",
		"AWS::EC2::InternetGateway", "AWS::EC2::VPCGatewayAttachment", "AWS::EC2::EgressOnlyInternetGateway", "AWS::EC2::VPCCidrBlock",
		"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress",
		"AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::ListenerRule", // in the LCUs of the balancer
		"AWS::ElasticLoadBalancingV2::ListenerCertificate", "AWS::ElasticLoadBalancingV2::TargetGroup",
		"AWS::ApiGateway::Deployment", "AWS::ApiGateway::Resource", "AWS::ApiGateway::Method", "AWS::ApiGateway::Account",
		"AWS::ApiGateway::GatewayResponse", "AWS::ApiGateway::DomainName", "AWS::ApiGateway::BasePathMapping",
		"AWS::ApiGatewayV2::Stage", "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Route",
		"AWS::CertificateManager::Certificate", "AWS::Route53::RecordSet", "AWS::WAFv2::WebACLAssociation",
		"AWS::ECS::TaskDefinition", "AWS::ApplicationAutoScaling::ScalableTarget", // in the service
		"AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Alias",
		"AWS::Lambda::Version", "AWS::Lambda::LayerVersion", "AWS::Scheduler::ScheduleGroup",
		"AWS::ElastiCache::User", "AWS::ElastiCache::UserGroup", "AWS::ElastiCache::SubnetGroup", "AWS::ElastiCache::ParameterGroup",
		"AWS::MemoryDB::User", "AWS::MemoryDB::ACL", "AWS::MemoryDB::SubnetGroup", "AWS::MemoryDB::ParameterGroup",
		"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::Logs::LogGroup", // in the lines of use
		"AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription", // used in failures only
		"AWS::KMS::Alias", "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::Events::Rule",
		"AWS::SecretsManager::ResourcePolicy", "AWS::CloudFormation::CustomResource", "AWS::CDK::Metadata",
	}
}

// isCustom knows the types that are run by a function of the same templates,
// which has its own line.
func isCustom(kind string) bool { return strings.HasPrefix(kind, "Custom::") }

// monthly prices a resource that has one price a month.
func monthly(name, price string) pricer {
	return func(e *estimator, _ *resource) error { return e.add(name, price, flat(one)) }
}
