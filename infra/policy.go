package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
)

// Policies are written out here, not granted by constructs: those allow families
// of actions (kms:GenerateDataKey*, s3:GetObject*), and none is needed.

// allow is a statement of actions on resources.
func allow(resources []*string, actions ...string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Effect: awsiam.Effect_ALLOW, Actions: strs(actions...), Resources: &resources,
	})
}

// on are the resources of a statement.
func on(arns ...*string) []*string { return arns }

// everything is for actions that know no resources.
func everything() []*string { return on(str("*")) }

// signIn allows signing in to the store.
func signIn(h *held) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Effect: awsiam.Effect_ALLOW, Actions: &h.store.actions, Resources: &h.store.arns,
	})
}

// trace allows sending segments.
func trace() awsiam.PolicyStatement {
	return allow(everything(), "xray:PutTraceSegments", "xray:PutTelemetryRecords")
}

// throughS3 allows using the key of the buckets, by way of S3 only.
func throughS3(h *held, actions ...string) awsiam.PolicyStatement {
	s := allow(on(h.data.KeyArn()), actions...)
	s.AddCondition(str("StringEquals"), map[string]any{"kms:ViaService": str("s3.%s.%s", *h.stack.Region(), *h.stack.UrlSuffix())})
	return s
}

// relayMay is what the relay may do, on either host.
func relayMay(s *Switches, h *held) []awsiam.PolicyStatement {
	seal := allow(on(h.master.KeyArn()), "kms:Encrypt", "kms:Decrypt")
	seal.AddCondition(str("StringEquals"), map[string]any{"kms:EncryptionContext:sluice": "data-key"})
	bucketKey := throughS3(h, "kms:GenerateDataKey", "kms:Decrypt")
	may := []awsiam.PolicyStatement{
		signIn(h), trace(), seal, bucketKey,
		allow(on(str("%s/config/*", *h.config.BucketArn())), "s3:GetObject", "s3:PutObject"),
		allow(on(h.config.BucketArn()), "s3:ListBucket"),
		allow(on(h.adminToken.SecretArn()), "secretsmanager:GetSecretValue"),
		allow(on(h.late.QueueArn()), "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"),
	}
	if len(s.BedrockRoles) > 0 {
		may = append(may, allow(*strs(s.BedrockRoles...), "sts:AssumeRole", "sts:TagSession"))
	}
	return may
}

// functionRole is a role for a function in the VPC that writes to a log group.
func functionRole(stack awscdk.Stack, id string, logs awslogs.LogGroup, may ...awsiam.PolicyStatement) awsiam.Role {
	role := awsiam.NewRole(stack, str(id), &awsiam.RoleProps{AssumedBy: service("lambda.amazonaws.com")})
	may = append(may,
		allow(on(logs.LogGroupArn()), "logs:CreateLogStream", "logs:PutLogEvents"),
		// Interfaces of functions are made before they have a name to allow.
		allow(everything(), "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
			"ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
	)
	for _, statement := range may {
		role.AddToPolicy(statement)
	}
	return role
}

// service is an AWS service that acts for this account only.
func service(name string) awsiam.IPrincipal {
	return awsiam.NewServicePrincipal(str(name), nil)
}

// deadLetters is a queue for what could not be delivered.
func deadLetters(stack awscdk.Stack, id string) awssqs.Queue {
	return awssqs.NewQueue(stack, str(id), &awssqs.QueueProps{
		Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: yes(), RetentionPeriod: awscdk.Duration_Days(num(14)),
	})
}
