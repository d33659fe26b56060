package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// services reads the tasks of an ECS service and deploys it.
type services interface {
	ListTasks(ctx context.Context, in *ecs.ListTasksInput, o ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	UpdateService(ctx context.Context, in *ecs.UpdateServiceInput, o ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
}

// longPrompt asks for an answer that outlasts a deployment.
const longPrompt = "Write the numbers from one to ten thousand in English words, one a line, and nothing else. Leave none out."

// live is a streamed answer while it is read.
type live struct {
	begun, done chan struct{} // closed at the first event, and at the end
	ended       time.Time
	answer      *answer
	err         error
}

// listen streams a long answer until it ends, or ctx does.
func (s *suite) listen(ctx context.Context) *live {
	l := &live{begun: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.answer, l.err = s.client.stream(ctx, s.key.Secret, s.o.model, longPrompt, s.o.drainTokens, func() { close(l.begun) })
		l.ended = time.Now()
	}()
	return l
}

// drain replaces the tasks of the service under a running answer, which must end
// whole all the same.
func (s *suite) drain(ctx context.Context) finding {
	switch {
	case s.target.rehearsal():
		return skip("a rehearsal has no service to deploy")
	case s.target.host != onFargate:
		return skip("functions are not drained: an invocation runs to its end")
	case s.target.cluster == "" || s.target.service == "":
		return skip("the stack has no outputs Cluster and Service")
	}
	if f, ok := s.callable(); !ok {
		return f
	}
	if s.answers == 0 {
		return skip("no answer was streamed to its end before")
	}
	old, err := s.tasks(ctx)
	switch {
	case err != nil:
		return skip("listing the tasks: %v", err)
	case len(old) == 0:
		return skip("the service %s runs no task", s.target.service)
	}
	question := fmt.Sprintf("Replace all %d tasks of service %s by a new deployment, while an answer of up to %d tokens runs?", len(old), s.target.service, s.o.drainTokens)
	if !s.o.confirm(ctx, question) {
		return skip("not confirmed; answer y, or give --yes")
	}
	return s.replace(ctx, old)
}

// replace forces a deployment under an answer and says what became of it.
func (s *suite) replace(ctx context.Context, old []string) finding {
	ctx, cancel := context.WithTimeout(ctx, longestAnswer)
	l := s.listen(ctx)
	defer func() { cancel(); <-l.done }()
	select {
	case <-l.begun:
	case <-l.done:
		return s.drained(l, time.Time{}, time.Time{})
	}
	_, err := s.cloud.services.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: &s.target.cluster, Service: &s.target.service, ForceNewDeployment: true,
	})
	if err != nil {
		return skip("deploying: %v", err)
	}
	forced := time.Now()
	told, err := s.told(ctx, l, old)
	if err != nil {
		return skip("listing the tasks while they are replaced: %v", err)
	}
	<-l.done
	if ctx.Err() != nil {
		s.left = append(s.left, "the deployment that was forced goes on; it replaces the tasks by the same")
	}
	return s.drained(l, forced, told)
}

// told waits until every old task has been told to stop, and returns when that
// was; the zero time if the answer ended before.
func (s *suite) told(ctx context.Context, l *live, old []string) (time.Time, error) {
	tick := time.NewTicker(s.o.every)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return time.Time{}, nil
		case <-tick.C:
		}
		wanted, err := s.tasks(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return time.Time{}, nil // the answer ends with ctx
			}
			return time.Time{}, err
		}
		if !slices.ContainsFunc(old, func(arn string) bool { return slices.Contains(wanted, arn) }) {
			return time.Now(), nil
		}
	}
}

// tasks are those of the service that shall run: a task that ECS has told to stop
// is not among them, though it may run for as long as it drains (ECS API
// reference, ListTasks: desiredStatus).
func (s *suite) tasks(ctx context.Context) ([]string, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(s.cloud.services, &ecs.ListTasksInput{
		Cluster: &s.target.cluster, ServiceName: &s.target.service, DesiredStatus: types.DesiredStatusRunning,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
	}
	return arns, nil
}

// drained judges an answer, the tasks of which were told to stop at a time.
func (s *suite) drained(l *live, forced, told time.Time) finding {
	switch {
	case l.err != nil:
		return fails("no answer of %s: %v", s.o.model, l.err)
	case !l.answer.whole():
		return fails("the answer broke off after %s: %v", round(l.answer.last), l.answer.broken)
	case told.IsZero() || !told.Before(l.ended):
		return skip("the answer ended after %s, before every task was told to stop; ask for a longer one with --drain-tokens, or another --model", round(l.answer.last))
	}
	return works("every task was told to stop %s after the deployment; the answer went on for %s and ended whole", round(told.Sub(forced)), round(l.ended.Sub(told)))
}
