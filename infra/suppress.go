package main

import (
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// Suppressions are rules of cdk-nag that do not apply, each with the reason. A test
// runs its rules for AWS solutions over every profile.

func suppressData(h *held) {
	suppress(h.stack, map[string]string{
		"AwsSolutions-VPC7": "Flow logs cost more than what they would show here: clients reach one port of the balancer, tasks are reached by the balancer only, and the relay logs each request. An operator who needs them adds them to the VPC.",
		"AwsSolutions-EC23": "The balancer is the entrance of a relay for clients wherever they are; the switch clients narrows it.",
		"AwsSolutions-S1":   "Both buckets are read and written by the relay's role only. CloudTrail data events show who did, without a third bucket to keep.",
		"AwsSolutions-SMG4": "The admin token is replaced by the operator, who tells its holders: rotation by the clock would lock scripts out. README.md says how.",
	})
}

func suppressApp(stack awscdk.Stack) {
	suppress(stack, map[string]string{
		"AwsSolutions-ECS2":  "The variables are settings and names of resources. The one secret, the admin token, is read from Secrets Manager by the relay.",
		"AwsSolutions-ECS4":  "Container Insights is charged by metric and repeats what the relay's own metrics and the balancer's say.",
		"AwsSolutions-ELB2":  "The relay writes a line for each request, with its id and without query strings; the balancer's log would hold keys that clients send as ?key=.",
		"AwsSolutions-APIG1": "The relay writes a line for each request; access logs of API Gateway take a role that is set for the whole account.",
		"AwsSolutions-APIG2": "Requests are validated by the relay, which answers in the shape of each client's vendor.",
		"AwsSolutions-APIG3": "A web ACL costs more than the rest of this profile; an operator who wants one associates it with the stage.",
		"AwsSolutions-APIG4": "The relay authorizes each request by its key.",
		"AwsSolutions-APIG6": "Execution logs would hold the keys and the prompts of clients.",
		"AwsSolutions-COG4":  "Clients have keys of Sluice, which the relay knows, and no user pool.",
	})
	cdknag.NagSuppressions_AddStackSuppressions(stack, &[]*cdknag.NagPackSuppression{{
		Id:     str("AwsSolutions-IAM5"),
		Reason: str("These actions know no resources, or are on things that have no name yet; a test lists them one by one."),
		AppliesTo: &[]any{
			str("Resource::*"),
		},
	}, {
		Id:     str("AwsSolutions-IAM5"),
		Reason: str("The config log is one object an entry, the archive one a batch, all of them below one prefix of one bucket."),
		AppliesTo: &[]any{
			&cdknag.RegexAppliesTo{Regex: str(`/^Resource::.*\/(config|usage)\/\*$/g`)},
		},
	}}, no())
}

func suppress(stack awscdk.Stack, reasons map[string]string) {
	for _, rule := range slices.Sorted(maps.Keys(reasons)) {
		reason := reasons[rule]
		cdknag.NagSuppressions_AddStackSuppressions(stack, &[]*cdknag.NagPackSuppression{{Id: &rule, Reason: &reason}}, no())
	}
}
