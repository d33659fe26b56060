package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"sluice/events"
)

// functions invokes Lambda functions.
type functions interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, o ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// sweep invokes the sweep function as its schedule does, once more: a sweep that
// finds nothing to do changes nothing.
func (s *suite) sweep(ctx context.Context) finding {
	switch {
	case s.target.rehearsal():
		return skip("a rehearsal has no functions")
	case s.target.sweepFunction == "":
		return skip("the stack has no output SweepFunction")
	}
	payload, err := json.Marshal(events.Tick{Job: "sweep", Scheduled: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return skip("%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, longestAnswer)
	defer cancel()
	begun := time.Now()
	out, err := s.cloud.functions.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &s.target.sweepFunction, InvocationType: types.InvocationTypeRequestResponse, Payload: payload,
	})
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	switch {
	case missing:
		return fails("there is no function %s", s.target.sweepFunction)
	case err != nil:
		return skip("invoking %s: %v", s.target.sweepFunction, err)
	case out.FunctionError != nil:
		return fails("%s failed: %s %s", s.target.sweepFunction, *out.FunctionError, out.Payload[:min(len(out.Payload), maxQuotedError)])
	}
	return works("%s ran without error in %s; that its schedule invokes it is not shown", s.target.sweepFunction, round(time.Since(begun)))
}

// maxQuotedError is how much of the error of a function is quoted.
const maxQuotedError = 300
