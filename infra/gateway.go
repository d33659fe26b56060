package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsroute53targets"
)

const (
	// longest is the longest that a function may run. The relay ends an answer
	// 10 s before.
	longest       = 900 // seconds
	relayMemory   = 512 // MiB
	stageName     = "api"
	gatewayBursts = 200 // requests at once, and a second
)

// newGateway is the relay as a function behind a REST API with streamed answers.
// HTTP APIs do not stream.
func newGateway(stack awscdk.Stack, s *Switches, b Built, h *held, a *alarms) {
	logs := logGroup(stack, "RelayLogs", s)
	relay := awslambda.NewFunction(stack, str("Relay"), &awslambda.FunctionProps{
		Description: str("Sluice: the relay"),
		Runtime:     awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(),
		Code: awslambda.Code_FromAsset(&b.Relay, nil), Handler: str("bootstrap"),
		Timeout: awscdk.Duration_Seconds(num(longest)), MemorySize: num(relayMemory),
		Role: functionRole(stack, "RelayRole", logs, relayMay(s, h)...), LogGroup: logs,
		Vpc: h.net.vpc, VpcSubnets: h.net.private, Ipv6AllowedForDualStack: ptr(s.VPC == ""),
		SecurityGroups: &[]awsec2.ISecurityGroup{imported(stack, "RelayGroup", h.net.relay)},
		Tracing:        awslambda.Tracing_ACTIVE,
		Environment: with(relaySettings(s, h), map[string]*string{
			"SLUICE_TRACE":               str("true"),
			"AWS_USE_DUALSTACK_ENDPOINT": str("%t", s.Egress == IPv6),
			"GOMEMLIMIT":                 str("400MiB"),
		}),
	})
	api := awsapigateway.NewRestApi(stack, str("Api"), &awsapigateway.RestApiProps{
		Description:      str("Sluice: the relay"),
		EndpointTypes:    &[]awsapigateway.EndpointType{awsapigateway.EndpointType_REGIONAL},
		BinaryMediaTypes: strs("*/*"), // bodies reach the relay as they are
		CloudWatchRole:   no(),
		DeployOptions: &awsapigateway.StageOptions{
			StageName: str(stageName), TracingEnabled: yes(), MetricsEnabled: yes(),
			ThrottlingRateLimit: num(gatewayBursts), ThrottlingBurstLimit: num(gatewayBursts),
		},
	})
	integration := awsapigateway.NewLambdaIntegration(relay, &awsapigateway.LambdaIntegrationOptions{
		Proxy: yes(), ResponseTransferMode: awsapigateway.ResponseTransferMode_STREAM,
		Timeout: awscdk.Duration_Seconds(num(longest)), AllowTestInvoke: no(),
	})
	open := &awsapigateway.MethodOptions{AuthorizationType: awsapigateway.AuthorizationType_NONE} // the relay knows the keys
	api.Root().AddMethod(str("ANY"), integration, open)
	api.Root().AddResource(str("{proxy+}"), nil).AddMethod(str("ANY"), integration, open)
	refusals(api)
	if certificate := newCertificate(stack, s); certificate != nil {
		api.AddDomainName(str("Domain"), &awsapigateway.DomainNameOptions{
			DomainName: &s.Domain, Certificate: certificate, EndpointType: awsapigateway.EndpointType_REGIONAL,
			SecurityPolicy: awsapigateway.SecurityPolicy_TLS_1_2,
		})
		named(stack, s, awsroute53targets.NewApiGateway(api), api.Url())
	} else {
		output(stack, "Endpoint", str("https://%s.execute-api.%s.%s/%s", *api.RestApiId(), *stack.Region(), *stack.UrlSuffix(), stageName))
	}
	a.gateway(stack, api)
	if s.FunctionURL {
		functionURL(stack, relay)
	}
}

// refusals give what API Gateway refuses by itself the shape that clients of
// Anthropic know.
func refusals(api awsapigateway.RestApi) {
	for _, r := range []struct {
		id         string
		kind       awsapigateway.ResponseType
		status     string
		code, text string
	}{
		{"TooLarge", awsapigateway.ResponseType_REQUEST_TOO_LARGE(), "413", "request_too_large",
			"the request is larger than this deployment takes (about 4.5 MB; a deployment on Fargate takes 32 MB)"},
		{"Throttled", awsapigateway.ResponseType_THROTTLED(), "429", "rate_limit_error", "too many requests to this deployment at once; try again"},
		{"NoAnswer", awsapigateway.ResponseType_INTEGRATION_FAILURE(), "502", "api_error", "the relay could not be started; try again"},
		{"TimedOut", awsapigateway.ResponseType_INTEGRATION_TIMEOUT(), "504", "timeout_error", "the relay did not begin an answer in time"},
		{"Failed", awsapigateway.ResponseType_DEFAULT_5XX(), "", "api_error", "the gateway failed; try again"},
		{"Refused", awsapigateway.ResponseType_DEFAULT_4XX(), "", "invalid_request_error", "the gateway could not read the request"},
	} {
		var status *string
		if r.status != "" { // else whichever it is
			status = &r.status
		}
		api.AddGatewayResponse(str(r.id), &awsapigateway.GatewayResponseOptions{
			Type: r.kind, StatusCode: status,
			Templates: &map[string]*string{
				"application/json": str(`{"type":"error","error":{"type":%q,"message":%q},"request_id":"$context.requestId"}`, r.code, r.text),
			},
		})
	}
}

// functionURL makes the relay callable by everyone, as a switch says.
func functionURL(stack awscdk.Stack, relay awslambda.Function) {
	url := relay.AddFunctionUrl(&awslambda.FunctionUrlOptions{
		AuthType: awslambda.FunctionUrlAuthType_NONE, InvokeMode: awslambda.InvokeMode_RESPONSE_STREAM,
	})
	output(stack, "FunctionUrl", url.Url())
	awscdk.Annotations_Of(stack).AddWarningV2(str("sluice:functionUrl"), str(
		"function_url=true: everyone on the internet can start the relay's function; it checks keys itself, but nothing throttles who has none"))
}
