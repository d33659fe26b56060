package cost

import (
	"fmt"
	"strings"
)

// fleet is what serves requests: the tasks of a service, or else functions that
// stream their answers.
type fleet struct {
	service   *resource // nil = functions serve
	cpu       int64     // of a task, 1,024 = 1 vCPU
	memory    int64     // of a task, in MB
	arm       bool
	public    bool // each task has a public IPv4 address
	traced    bool
	tasks     [3]int64            // at each load
	streamers map[*resource]bool  // functions that stream
	runs      map[*resource]int64 // scheduled runs a month of a function
	sweeps    int64               // scheduled runs a month, of all functions
}

func (e *estimator) readFleet() (fleet, error) {
	f := fleet{streamers: e.streamers(), runs: map[*resource]int64{}}
	for _, s := range e.set.of("AWS::Scheduler::Schedule") {
		n, err := runsPerMonth(s)
		if err != nil {
			return f, err
		}
		for _, r := range e.functions(s, "Target.Arn") {
			f.runs[r] += n
			f.sweeps += n
		}
	}
	services := e.set.of("AWS::ECS::Service")
	switch len(services) {
	case 0:
		return f, nil
	case 1:
		f.service = services[0]
		return f, e.readService(&f)
	}
	return f, fmt.Errorf("%s is a second service: the cost page shares the requests among the tasks of one, the streamer", services[1])
}

// readService reads the tasks of the service, and how many each load needs.
func (e *estimator) readService(f *fleet) error {
	task, err := e.taskDefinition(f.service)
	if err != nil {
		return err
	}
	if f.cpu, err = task.whole("Cpu", 0, 16*1024); err != nil {
		return err
	}
	if f.memory, err = task.whole("Memory", 0, 120*1024); err != nil {
		return err
	}
	if f.cpu == 0 || f.memory == 0 {
		return fmt.Errorf("%s has no Cpu or Memory: Fargate bills both, set them on the task", task)
	}
	arch, err := task.text("RuntimePlatform.CpuArchitecture", "X86_64")
	if err != nil {
		return err
	}
	ip, err := f.service.text("NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp", "DISABLED")
	if err != nil {
		return err
	}
	f.arm, f.public, f.traced = arch == "ARM64", ip == "ENABLED", task.mentions("ContainerDefinitions", "xray")
	return e.scale(f)
}

func (e *estimator) taskDefinition(service *resource) (*resource, error) {
	for _, r := range e.set.targets(service.stack, service.get("TaskDefinition")) {
		if r.kind == "AWS::ECS::TaskDefinition" {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s has a TaskDefinition that is in none of the templates: pass all stacks of the deployment", service)
}

// scale is how many tasks run: enough for the busiest time, all month, and never
// fewer than the template keeps.
func (e *estimator) scale(f *fleet) error {
	least, err := f.service.whole("DesiredCount", 1, maxTasks)
	if err != nil {
		return err
	}
	most := least
	for _, r := range e.set.of("AWS::ApplicationAutoScaling::ScalableTarget") {
		low, err := r.whole("MinCapacity", 0, maxTasks)
		if err != nil {
			return err
		}
		high, err := r.whole("MaxCapacity", 0, maxTasks)
		if err != nil {
			return err
		}
		least, most = max(least, low), max(most, high)
	}
	target, err := e.scalingTarget()
	if err != nil {
		return err
	}
	for i, l := range Loads() {
		need := ceil(streams(l), target)
		f.tasks[i] = max(least, need)
		if need > most {
			e.remark("At %s it needs %d tasks of %d streams; the template allows %d. It is priced with what it needs.", l.Name, need, target, most)
		}
	}
	return nil
}

const maxTasks = 100_000

// scalingTarget is the number of streams per task that the template scales to.
func (e *estimator) scalingTarget() (int64, error) {
	const tracking = "TargetTrackingScalingPolicyConfiguration"
	for _, r := range e.set.of("AWS::ApplicationAutoScaling::ScalingPolicy") {
		if !r.mentions(tracking+".CustomizedMetricSpecification", "stream") {
			continue
		}
		n, err := r.whole(tracking+".TargetValue", streamsPerTask, maxTasks)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, fmt.Errorf("%s has the TargetValue 0: set how many streams a task is to carry", r)
		}
		return n, nil
	}
	return streamsPerTask, nil
}

// streamers are the functions that a URL or a method of a REST API streams from.
func (e *estimator) streamers() map[*resource]bool {
	found := map[*resource]bool{}
	for _, r := range e.set.of("AWS::Lambda::Url") {
		if r.mentions("InvokeMode", "response_stream") {
			for _, f := range e.functions(r, "TargetFunctionArn") {
				found[f] = true
			}
		}
	}
	for _, r := range e.set.of("AWS::ApiGateway::Method") {
		if r.mentions("Integration.ResponseTransferMode", "stream") {
			for _, f := range e.functions(r, "Integration.Uri") {
				found[f] = true
			}
		}
	}
	return found
}

const (
	alias   = "AWS::Lambda::Alias"
	version = "AWS::Lambda::Version"
)

// functions are the functions that a property refers to, through an alias or a
// version too.
func (e *estimator) functions(r *resource, path string) []*resource {
	var found []*resource
	for _, t := range e.set.targets(r.stack, r.get(path)) {
		switch {
		case t.kind == "AWS::Lambda::Function":
			found = append(found, t)
		case t.kind == alias && r.kind != alias && r.kind != version, t.kind == version && r.kind != version: // no circles
			found = append(found, e.functions(t, "FunctionName")...)
		}
	}
	return found
}

// runsPerMonth reads a schedule expression. Of a cron expression the minutes and
// hours count; one that is limited to some days counts as if it ran on all.
func runsPerMonth(r *resource) (int64, error) {
	text, err := r.text("ScheduleExpression", "")
	if err != nil {
		return 0, err
	}
	form, rest, _ := strings.Cut(text, "(")
	fields := strings.Fields(strings.TrimSuffix(rest, ")"))
	switch {
	case form == "at":
		return 1, nil
	case form == "rate" && len(fields) == 2:
		minutes := map[string]int64{"minute": 1, "hour": 60, "day": 24 * 60}[strings.TrimSuffix(fields[1], "s")]
		if n := natural(fields[0]); n > 0 && minutes > 0 {
			return ceil(minutesPerMonth, n*minutes), nil
		}
	case form == "cron" && len(fields) == 6:
		if a, b := times(fields[0], 60), times(fields[1], 24); a > 0 && b > 0 {
			return ceil(a*b*hoursPerMonth, 24), nil
		}
	}
	return 0, fmt.Errorf("%s: ScheduleExpression %q is not understood: write it as rate(5 minutes), cron(0 3 * * ? *) or at(…)", r, text)
}

// times is how often a field of a cron expression matches within its range; 0
// when it is not understood.
func times(field string, span int64) int64 {
	var n int64
	for part := range strings.SplitSeq(field, ",") {
		start, step, stepped := strings.Cut(part, "/")
		low, high, ranged := strings.Cut(start, "-")
		from, to := natural(low), natural(high)
		by := natural(step)
		switch {
		case stepped && by < 1, start != "*" && from < 0, ranged && (to < from || to >= span):
			return 0
		case stepped && start == "*":
			n += ceil(span, by)
		case stepped && from < span:
			n += ceil(span-from, by)
		case start == "*":
			n += span
		case ranged:
			n += to - from + 1
		default:
			n++
		}
	}
	return n
}

// natural reads a short decimal number; -1 when it is none.
func natural(s string) int64 {
	if s == "" || len(s) > 6 {
		return -1
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}
