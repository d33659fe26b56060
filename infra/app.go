package main

import (
	"maps"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
)

const (
	// stopTimeout is the longest that Fargate lets a task end its work.
	stopTimeout = 120 * time.Second
	// shutdown is what the relay takes of it; the rest is for settling.
	shutdown = 110 * time.Second
	// metricsEvery is how often the relay writes its metrics.
	metricsEvery = 20 * time.Second
	// metricNamespace and streamsMetric name what the service is scaled by.
	metricNamespace, streamsMetric = "Sluice", "InFlightStreams"
)

// ownSettings are those of the relay that the deployment sets.
var ownSettings = []string{
	"SLUICE_LISTEN", "SLUICE_REDIS_URL", "SLUICE_REDIS_IAM", "SLUICE_KMS_KEY", "SLUICE_CONFIG_BUCKET", "SLUICE_LATE_QUEUE", "SLUICE_DATA_DIR",
	"SLUICE_ADMIN_TOKEN", "SLUICE_ADMIN_SECRET", "SLUICE_STREAM_MAX", "SLUICE_SHUTDOWN_TIMEOUT", "SLUICE_TRACE",
	"SLUICE_EMF_EVERY", "SLUICE_SIMULATOR",
}

// newApp makes SluiceApp: everything that can be made again.
func newApp(app awscdk.App, s *Switches, b Built, h *held) awscdk.Stack {
	stack := awscdk.NewStack(app, str("SluiceApp"), &awscdk.StackProps{
		Description: str("Sluice: the relay and its functions. Everything here can be made again; what must last is in SluiceData."),
		Env:         environment(),
		Synthesizer: synthesizer(s),
	})
	stack.AddStackDependency(h.stack, nil)
	awscdk.CrossStackReferences_Of(stack).Consume(awscdk.ReferenceStrength_WEAK)

	a := newAlarms(stack, s)
	if s.Streamer == Fargate {
		newService(stack, s, b, h, a)
	} else {
		newGateway(stack, s, b, h, a)
	}
	newSweep(stack, s, b, h, a)
	newRollup(stack, s, b, h, a)
	output(stack, "Host", &s.Streamer)
	output(stack, "Profile", &s.Profile)
	output(stack, "AdminTokenSecret", h.adminToken.SecretArn())
	output(stack, "CacheKind", &s.Store)
	output(stack, "CacheUser", str(storeName))
	suppressApp(stack)
	return stack
}

func output(stack awscdk.Stack, name string, value *string) {
	awscdk.NewCfnOutput(stack, str(name), &awscdk.CfnOutputProps{Value: value})
}

// storeSettings are the settings of whatever uses the store.
func storeSettings(h *held) map[string]*string {
	return map[string]*string{"SLUICE_REDIS_URL": h.store.url, "SLUICE_REDIS_IAM": str(h.store.iam)}
}

// relaySettings are the settings of the relay on both hosts.
func relaySettings(s *Switches, h *held) map[string]*string {
	env := storeSettings(h)
	env["SLUICE_KMS_KEY"] = h.master.KeyArn()
	env["SLUICE_CONFIG_BUCKET"] = h.config.BucketName()
	env["SLUICE_ADMIN_SECRET"] = h.adminToken.SecretArn()
	env["SLUICE_LATE_QUEUE"] = h.late.QueueUrl()
	env["SLUICE_STREAM_MAX"] = str(s.StreamMax.String())
	env["SLUICE_EMF_EVERY"] = str(metricsEvery.String())
	for name, value := range s.Env {
		env[name] = str("%s", value)
	}
	return env
}

// logGroup is deleted with the stack; what must last is not in logs.
func logGroup(stack awscdk.Stack, id string, s *Switches) awslogs.LogGroup {
	return awslogs.NewLogGroup(stack, str(id), &awslogs.LogGroupProps{
		Retention:     retention(s.LogDays),
		RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
}

func retention(days int) awslogs.RetentionDays {
	return map[int]awslogs.RetentionDays{
		1: awslogs.RetentionDays_ONE_DAY, 3: awslogs.RetentionDays_THREE_DAYS, 5: awslogs.RetentionDays_FIVE_DAYS,
		7: awslogs.RetentionDays_ONE_WEEK, 14: awslogs.RetentionDays_TWO_WEEKS, 30: awslogs.RetentionDays_ONE_MONTH,
		60: awslogs.RetentionDays_TWO_MONTHS, 90: awslogs.RetentionDays_THREE_MONTHS,
		180: awslogs.RetentionDays_SIX_MONTHS, 365: awslogs.RetentionDays_ONE_YEAR,
	}[days]
}

func seconds(d time.Duration) awscdk.Duration { return awscdk.Duration_Seconds(num(int(d.Seconds()))) }

func with(env map[string]*string, more map[string]*string) *map[string]*string {
	maps.Copy(env, more)
	return &env
}
