package main

import "strings"

// service is something that the product asks, under one name or several.
type service struct {
	name   string
	hosts  []string // the ordinary name first, then those that have IPv6 beside it
	second string   // what to do when only a later name is reachable
	lost   string   // what does not work when none is

	regional bool // not even the ordinary name is there in every region
}

const dualStack = "set AWS_USE_DUALSTACK_ENDPOINT=true"

// services are the vendors, and what of AWS a request or a job waits for.
//
// The dual-stack names are documented by each service:
// https://docs.aws.amazon.com/kms/latest/developerguide/ipv6-kms.html,
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_dual-stack_endpoint_support.html (STS),
// https://docs.aws.amazon.com/eventbridge/latest/userguide/dual-stack.html,
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dual-stack.html,
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/dual-stack-endpoints.html.
// That of Secrets Manager and of Bedrock are those that the SDK makes when it is
// told to use dual-stack endpoints; whether they exist in a region is what is
// asked here. https://docs.aws.amazon.com/general/latest/gr/bedrock.html lists
// none for Bedrock.
func services(region string) []service {
	plain, dual := domains(region)
	aws := func(name, prefix, lost string) service {
		return service{
			name:   name,
			hosts:  []string{prefix + "." + region + "." + plain, prefix + "." + region + "." + dual},
			second: dualStack,
			lost:   lost,
		}
	}
	s3 := aws("S3", "s3", "the usage archive and the config log are not written")
	s3.hosts[1] = "s3.dualstack." + region + "." + plain
	return []service{
		{name: "Anthropic", hosts: []string{"api.anthropic.com"}, lost: "accounts of provider anthropic do not work"},
		{name: "OpenAI", hosts: []string{"api.openai.com"}, lost: "accounts of provider openai do not work"},
		{name: "Gemini", hosts: []string{"generativelanguage.googleapis.com"}, lost: "accounts of provider gemini do not work"},
		aws("Bedrock", "bedrock-runtime", "accounts of provider bedrock do not work"),
		{name: "Bedrock mantle", hosts: []string{"bedrock-mantle." + region + "." + dual}, lost: "accounts that use the mantle endpoint do not work", regional: true},
		aws("STS", "sts", "accounts that assume a role do not work"),
		aws("KMS", "kms", "credentials of accounts cannot be opened"),
		aws("Secrets Manager", "secretsmanager", "the streamer does not start"),
		s3,
		aws("SQS", "sqs", "settlements that the store does not take are left to the sweep"),
		aws("EventBridge", "events", "events are not published"),
	}
}

// others are names given by the caller: compatible endpoints, proxies, webhooks.
func others(hosts []string) []service {
	var all []service
	for _, host := range hosts {
		all = append(all, service{name: "given", hosts: []string{host}, lost: host + " does not work"})
	}
	return all
}

// domains are the domain of AWS in the partition of a region, and that of its
// dual-stack endpoints (partitions.json of the AWS SDKs).
func domains(region string) (plain, dual string) {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "amazonaws.com.cn", "api.amazonwebservices.com.cn"
	case strings.HasPrefix(region, "eusc-"):
		return "amazonaws.eu", "api.amazonwebservices.eu"
	}
	return "amazonaws.com", "api.aws"
}
