package cost

// alarm prices an alarm by the metrics that it looks at.
func alarm(e *estimator, r *resource) error {
	metrics, err := r.list("Metrics")
	if err != nil {
		return err
	}
	looked := Quantity(0)
	for _, m := range metrics {
		if query, ok := m.(map[string]any); ok && query["MetricStat"] != nil {
			looked++
		}
	}
	return e.add("Alarm", "alarm", flat(max(1, looked)*one))
}

func eventBus(e *estimator, _ *resource) error {
	return e.add("Events", "events", flat(otherCalls))
}

// traffic adds what requests cause wherever they are served: data out, logs,
// metrics, traces and the archive.
func (e *estimator) traffic() error {
	f := &e.fleet
	if f.service == nil && len(f.streamers) == 0 {
		e.remark("No template has a service or a streaming function: nothing serves requests, so their cost is left out.")
		return nil
	}
	if err := e.add("Data out: answers to clients, requests to the vendor", "data-out", perRequest(bodyKB+answerKB)); err != nil {
		return err
	}
	if err := e.logs(); err != nil {
		return err
	}
	if f.service != nil {
		if err := e.add("Metrics of the streamer", "metric", flat(taskMetrics*one)); err != nil {
			return err
		}
	}
	if err := e.traces(); err != nil {
		return err
	}
	if len(e.set.of("AWS::S3::Bucket")) == 0 {
		return nil
	}
	year := each(func(_ int, l Load) int64 { return ceil(12*l.Requests*archiveBytes, 1000) })
	if err := e.add("Archive: a year of records", "s3", year); err != nil {
		return err
	}
	return e.add("Archive: writes", "s3-writes", each(func(_ int, l Load) int64 {
		return idleObjects + min(l.Requests, archiveObjects)
	}))
}

// logs adds the lines of requests, metrics and scheduled functions, and their storage.
func (e *estimator) logs() error {
	days, err := e.retention()
	if err != nil {
		return err
	}
	lines := each(func(i int, l Load) int64 {
		return l.Requests*logKB + e.fleet.tasks[i]*taskLogKB + e.fleet.sweeps*logKB
	})
	if err := e.add("Logs: written", "logs", lines); err != nil {
		return err
	}
	var kept [3]Quantity
	for i, q := range lines {
		kept[i] = q * Quantity(days) / 30
	}
	return e.add("Logs: kept", "logs-stored", kept)
}

// retention is the longest time that a log group keeps lines. One that keeps them
// for ever counts as a year.
func (e *estimator) retention() (int64, error) {
	longest := int64(0)
	for _, r := range e.set.of("AWS::Logs::LogGroup") {
		days, err := r.whole("RetentionInDays", 0, 3_653)
		if err != nil {
			return 0, err
		}
		if days == 0 {
			e.remark("%s keeps its lines for ever: they are priced for a year. Set RetentionInDays.", r.id)
			days = 365
		}
		longest = max(longest, days)
	}
	if longest == 0 {
		longest = 30
	}
	return longest, nil
}

// traces adds the sampled requests: the first of each second and task, and a
// share of the others.
func (e *estimator) traces() error {
	if !e.fleet.traced {
		e.remark("Requests are not traced: no task has an X-Ray daemon, and no streaming function has TracingConfig.")
		return nil
	}
	return e.add("Traces of requests", "traces", each(func(i int, l Load) int64 {
		first := min(l.Requests, max(1, e.fleet.tasks[i])*secondsPerMonth)
		return first + ceil(l.Requests-first, traceEvery)
	}))
}
