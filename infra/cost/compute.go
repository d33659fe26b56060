package cost

import "fmt"

// service prices the tasks of the streamer and their addresses.
func service(e *estimator, _ *resource) error {
	f := &e.fleet
	cpu, memory := "fargate-x86-vcpu", "fargate-x86-memory"
	if f.arm {
		cpu, memory = "fargate-arm-vcpu", "fargate-arm-memory"
	}
	if err := e.add("Tasks: processor", cpu, f.each(f.cpu)); err != nil {
		return err
	}
	if err := e.add("Tasks: memory", memory, f.each(f.memory)); err != nil {
		return err
	}
	if !f.public {
		return nil
	}
	return e.add("Public IPv4 address of a task", "ipv4", f.each(1024))
}

// each is the hours of all tasks, of 1,024ths of a unit that one task has.
func (f *fleet) each(parts int64) [3]Quantity {
	return each(func(i int, _ Load) int64 {
		return f.tasks[i] * parts * hoursPerMonth * (int64(one) / 64) / 16
	})
}

func cluster(_ *estimator, r *resource) error {
	if r.mentions("ClusterSettings", `"enabled"`) || r.mentions("ClusterSettings", `"enhanced"`) {
		return fmt.Errorf("%s has Container Insights, whose metrics have no price here: the streamer writes its own, set it to disabled", r)
	}
	return nil
}

// scalingPolicy prices the two alarms that target tracking makes for itself,
// https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html.
func scalingPolicy(e *estimator, r *resource) error {
	if r.get("TargetTrackingScalingPolicyConfiguration") == nil {
		return nil
	}
	return e.add("Alarm of target tracking", "alarm", flat(2*one))
}

// function prices the runs of a function: requests if it streams, else its
// schedule, else a few calls.
func function(e *estimator, r *resource) error {
	memory, err := r.whole("MemorySize", 128, 10_240)
	if err != nil {
		return err
	}
	arch := "lambda-x86"
	if r.mentions("Architectures", "arm64") {
		arch = "lambda-arm"
	}
	if e.fleet.streamers[r] && e.fleet.service == nil {
		return e.streamer(r, memory, arch)
	}
	runs := e.fleet.runs[r]
	name := "Scheduled functions"
	if runs == 0 {
		runs, name = otherCalls, "Other functions"
	}
	if err := e.add(name+": calls", "lambda-requests", flat(Quantity(runs))); err != nil {
		return err
	}
	if err := e.add(name+": run time", arch, flat(Quantity(ceil(runs*memory*jobMillis, 1024*1000)))); err != nil {
		return err
	}
	if !r.mentions("TracingConfig.Mode", "active") {
		return nil
	}
	return e.add("Traces of functions", "traces", flat(Quantity(runs))) // fewer than one a second: each is traced
}

// streamer prices a function that relays: it is billed for as long as it waits
// for the vendor. Of what it streams, 6 MB an answer are free.
func (e *estimator) streamer(r *resource, memory int64, arch string) error {
	share := int64(len(e.fleet.streamers)) // requests are shared evenly
	if err := e.add("Streaming function: calls", "lambda-requests", each(func(_ int, l Load) int64 { return l.Requests / share })); err != nil {
		return err
	}
	time := each(func(_ int, l Load) int64 { return ceil(l.Requests/share*callTime*memory, 1024) })
	if err := e.add("Streaming function: run time", arch, time); err != nil {
		return err
	}
	loads := Loads()
	last := loads[len(loads)-1]
	e.remark("A function is billed for the whole %d s that an answer takes, most of it waiting for the vendor: at %s its run time alone is $%s a month. This deployment is for few requests; many belong on tasks.",
		callTime, last.Name, cents(e.prices[arch].of(time[len(loads)-1])))
	if n := streams(last); n > lambdaConcurrency {
		e.remark("At %s, %s answers stream at once at the busiest time; an account may run %s functions at once until AWS raises that.", last.Name, thousands(n), thousands(lambdaConcurrency))
	}
	e.fleet.traced = e.fleet.traced || r.mentions("TracingConfig.Mode", "active")
	return nil
}

// eventSource prices the reading of a queue by Lambda, which goes on when the
// queue is empty.
func eventSource(e *estimator, _ *resource) error {
	return e.add("Reading of queues by functions", "queue-requests", flat(pollsPerMapping))
}

func schedule(e *estimator, r *resource) error {
	n, err := runsPerMonth(r)
	if err != nil {
		return err
	}
	return e.add("Schedules", "schedule-runs", flat(Quantity(n)))
}

func repository(e *estimator, _ *resource) error {
	return e.add("Images", "images", flat(imageKB))
}
