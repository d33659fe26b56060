package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
)

// alarms are what someone should be woken for. Without an address they change
// colour in CloudWatch and tell nobody.
type alarms struct{ topic awssns.Topic }

func newAlarms(stack awscdk.Stack, s *Switches) *alarms {
	if s.AlarmEmail == "" {
		return new(alarms)
	}
	topic := awssns.NewTopic(stack, str("Alarms"), &awssns.TopicProps{DisplayName: str("Sluice"), EnforceSSL: yes()})
	topic.AddSubscription(awssnssubscriptions.NewEmailSubscription(&s.AlarmEmail, nil))
	return &alarms{topic}
}

// alarm goes off when a metric reaches a threshold in each of so many periods.
func (a *alarms) alarm(stack awscdk.Stack, id, what string, metric awscloudwatch.IMetric, threshold, periods int) {
	alarm := awscloudwatch.NewAlarm(stack, str(id), &awscloudwatch.AlarmProps{
		AlarmDescription: str("Sluice: " + what), Metric: metric,
		Threshold: num(threshold), EvaluationPeriods: num(periods),
		ComparisonOperator: awscloudwatch.ComparisonOperator_GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
		TreatMissingData:   awscloudwatch.TreatMissingData_NOT_BREACHING,
	})
	if a.topic != nil {
		alarm.AddAlarmAction(awscloudwatchactions.NewSnsAction(a.topic))
		alarm.AddOkAction(awscloudwatchactions.NewSnsAction(a.topic))
	}
}

func sum() *awscloudwatch.MetricOptions {
	return &awscloudwatch.MetricOptions{Statistic: str("Sum"), Period: awscdk.Duration_Minutes(num(1))}
}

func (a *alarms) service(stack awscdk.Stack, balancer awselasticloadbalancingv2.ApplicationLoadBalancer, target awselasticloadbalancingv2.ApplicationTargetGroup) {
	a.alarm(stack, "NoAnswerAlarm", "the balancer answered for the relay, because no task did",
		balancer.Metrics().HttpCodeElb(awselasticloadbalancingv2.HttpCodeElb_ELB_5XX_COUNT, sum()), 10, 3)
	a.alarm(stack, "UnhealthyAlarm", "a task does not answer /readyz",
		target.Metrics().UnhealthyHostCount(&awscloudwatch.MetricOptions{Statistic: str("Minimum"), Period: awscdk.Duration_Minutes(num(1))}), 1, 5)
}

func (a *alarms) gateway(stack awscdk.Stack, api awsapigateway.RestApi) {
	a.alarm(stack, "NoAnswerAlarm", "API Gateway answered 5xx", api.MetricServerError(sum()), 10, 3)
}

func (a *alarms) function(stack awscdk.Stack, id string, f awslambda.Function, dead awssqs.Queue) {
	a.alarm(stack, id+"Alarm", "the function "+id+" fails", f.MetricErrors(sum()), 1, 5)
	a.letters(stack, id+"LostAlarm", "the function "+id+" could not be started: see its dead letters", dead)
}

// letters goes off when there is something in a queue of dead letters.
func (a *alarms) letters(stack awscdk.Stack, id, what string, dead awssqs.Queue) {
	a.alarm(stack, id, what,
		dead.MetricApproximateNumberOfMessagesVisible(&awscloudwatch.MetricOptions{Statistic: str("Maximum"), Period: awscdk.Duration_Minutes(num(1))}), 1, 1)
}
