package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
)

const (
	functionMemory  = 256 // MiB
	rollupMemory    = 512 // MiB
	functionTimeout = 120 // seconds; after an outage the sweep looks twice, 40 s apart
)

// newSweep settles calls whose process died, should no other process do it, and
// what the store did not take.
func newSweep(stack awscdk.Stack, s *Switches, b Built, h *held, a *alarms) {
	sweep, role := newFunction(stack, s, h, a, job{
		id: "Sweep", name: "sweep", what: "settles the calls of processes that died, and late settlements",
		code: b.Sweep, rate: "rate(1 minute)", memory: functionMemory,
	}, allow(on(h.late.QueueArn()), "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"))
	awslambda.NewCfnEventSourceMapping(stack, str("LateSettlements"), &awslambda.CfnEventSourceMappingProps{
		FunctionName: sweep.FunctionName(), EventSourceArn: h.late.QueueArn(), BatchSize: num(10),
		FunctionResponseTypes: strs("ReportBatchItemFailures"),
	}).Node().AddDependency(role)
	a.letters(stack, "LateLostAlarm", "late settlements cannot be made: see their dead letters", h.lateDead)
	output(stack, "SweepFunction", sweep.FunctionName())
}

// newRollup adds usage up, archives it and removes what is old.
func newRollup(stack awscdk.Stack, s *Switches, b Built, h *held, a *alarms) {
	newFunction(stack, s, h, a, job{
		id: "Rollup", name: "rollup", what: "adds usage up, archives it and removes what is old",
		code: b.Rollup, rate: "rate(5 minutes)", memory: rollupMemory,
		env: map[string]*string{"SLUICE_ARCHIVE_BUCKET": h.archive.BucketName()},
	},
		allow(on(str("%s/usage/*", *h.archive.BucketArn())), "s3:PutObject"),
		throughS3(h, "kms:GenerateDataKey", "kms:Decrypt"),
	)
}

// job is a function that a schedule starts.
type job struct {
	id, name, what string
	code           string // folder with its bootstrap
	rate           string // of the schedule
	memory         int    // MiB
	env            map[string]*string
}

// newFunction is the function of a job, in the VPC, with its schedule and alarms. It
// signs in to the store; what else it may do is said here.
func newFunction(stack awscdk.Stack, s *Switches, h *held, a *alarms, j job, may ...awsiam.PolicyStatement) (awslambda.Function, awsiam.Role) {
	dead := deadLetters(stack, j.id+"DeadLetters")
	logs := logGroup(stack, j.id+"Logs", s)
	role := functionRole(stack, j.id+"Role", logs, append(may, signIn(h), trace(), allow(on(dead.QueueArn()), "sqs:SendMessage"))...)
	function := awslambda.NewFunction(stack, str(j.id), &awslambda.FunctionProps{
		Description: str("Sluice: " + j.what),
		Runtime:     awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(),
		Code: awslambda.Code_FromAsset(&j.code, nil), Handler: str("bootstrap"),
		Timeout: awscdk.Duration_Seconds(num(functionTimeout)), MemorySize: num(j.memory),
		Role: role, LogGroup: logs, Tracing: awslambda.Tracing_ACTIVE,
		Vpc: h.net.vpc, VpcSubnets: h.net.private, Ipv6AllowedForDualStack: ptr(s.VPC == ""),
		SecurityGroups:  &[]awsec2.ISecurityGroup{imported(stack, j.id+"Group", h.net.functions)},
		Environment:     with(storeSettings(h), j.env),
		DeadLetterQueue: dead, RetryAttempts: num(1), MaxEventAge: awscdk.Duration_Minutes(num(5)),
	})
	schedule(stack, j.id+"Schedule", j.rate, j.name, function, dead)
	a.function(stack, j.id, function, dead)
	return function, role
}

// schedule has EventBridge Scheduler start a function, which gets events.Tick.
func schedule(stack awscdk.Stack, id, rate, job string, function awslambda.Function, dead awssqs.Queue) {
	role := awsiam.NewRole(stack, str(id+"Role"), &awsiam.RoleProps{
		AssumedBy: awsiam.NewServicePrincipal(str("scheduler.amazonaws.com"), &awsiam.ServicePrincipalOpts{
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": stack.Account()}},
		}),
	})
	role.AddToPolicy(allow(on(function.FunctionArn()), "lambda:InvokeFunction"))
	role.AddToPolicy(allow(on(dead.QueueArn()), "sqs:SendMessage"))
	awsscheduler.NewCfnSchedule(stack, str(id), &awsscheduler.CfnScheduleProps{
		Description:        str("Sluice: " + job),
		ScheduleExpression: &rate,
		FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: str("OFF")},
		Target: &awsscheduler.CfnSchedule_TargetProperty{
			Arn: function.FunctionArn(), RoleArn: role.RoleArn(),
			Input:            str(`{"job":%q,"scheduled":"<aws.scheduler.scheduled-time>"}`, job),
			DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: dead.QueueArn()},
			RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{
				MaximumEventAgeInSeconds: num(300), MaximumRetryAttempts: num(2),
			},
		},
	})
}
