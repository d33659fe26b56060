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
	functionTimeout = 120 // seconds; after an outage the sweep looks twice, 40 s apart
)

// newSweep settles calls whose process died, should no other process do it, and
// what the store did not take.
func newSweep(stack awscdk.Stack, s *Switches, b Built, h *held, a *alarms) {
	dead := deadLetters(stack, "SweepDeadLetters")
	logs := logGroup(stack, "SweepLogs", s)
	role := functionRole(stack, "SweepRole", logs, signIn(h), trace(), allow(on(dead.QueueArn()), "sqs:SendMessage"),
		allow(on(h.late.QueueArn()), "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"))
	sweep := awslambda.NewFunction(stack, str("Sweep"), &awslambda.FunctionProps{
		Description: str("Sluice: settles the calls of processes that died"),
		Runtime:     awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(),
		Code: awslambda.Code_FromAsset(&b.Sweep, nil), Handler: str("bootstrap"),
		Timeout: awscdk.Duration_Seconds(num(functionTimeout)), MemorySize: num(functionMemory),
		Role: role, LogGroup: logs, Tracing: awslambda.Tracing_ACTIVE,
		Vpc: h.net.vpc, VpcSubnets: h.net.private, Ipv6AllowedForDualStack: ptr(s.VPC == ""),
		SecurityGroups:  &[]awsec2.ISecurityGroup{imported(stack, "FunctionGroup", h.net.functions)},
		Environment:     with(storeSettings(h), nil),
		DeadLetterQueue: dead, RetryAttempts: num(1), MaxEventAge: awscdk.Duration_Minutes(num(5)),
	})
	awslambda.NewCfnEventSourceMapping(stack, str("LateSettlements"), &awslambda.CfnEventSourceMappingProps{
		FunctionName: sweep.FunctionName(), EventSourceArn: h.late.QueueArn(), BatchSize: num(10),
		FunctionResponseTypes: strs("ReportBatchItemFailures"),
	}).Node().AddDependency(role)
	schedule(stack, "SweepSchedule", "rate(1 minute)", "sweep", sweep, dead)
	a.function(stack, "Sweep", sweep, dead)
	a.letters(stack, "LateLostAlarm", "late settlements cannot be made: see their dead letters", h.lateDead)
	output(stack, "SweepFunction", sweep.FunctionName())
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
