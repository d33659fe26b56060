package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sluice/shared/admission"
	"sluice/shared/fault"
)

// batchSize is how many messages SQS gives and deletes at most at once
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
const batchSize = 10

// Drain applies what can be received now, and returns how many were applied; those
// are deleted. It waits for no message: SQS asks some of its servers only, and may
// say there is none where there are few, which a later Drain gets (unless the queue's
// ReceiveMessageWaitTimeSeconds is set, which makes SQS ask them all).
//
// It stops when apply errs with fault.StoreDown or its time is over, when ctx ends,
// and when SQS fails; that error is returned. What apply refuses otherwise, and what
// is no settlement, is told to the logger and stays in the queue, for its redrive
// policy.
func (q *Queue) Drain(ctx context.Context, apply func(context.Context, admission.Settlement) error) (int, error) {
	applied := 0
	for {
		if err := ctx.Err(); err != nil {
			return applied, err
		}
		out, err := q.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: batchSize})
		if err != nil {
			return applied, q.failed(ctx, "sqs:ReceiveMessage", err)
		}
		done, err := q.applyAll(ctx, out.Messages, apply)
		applied += len(done)
		if err = errors.Join(err, q.remove(ctx, done)); err != nil {
			return applied, err
		}
		// What was refused may be visible again at once; without this a queue of
		// nothing else would be asked for ever.
		if len(done) == 0 {
			return applied, nil
		}
	}
}

func (q *Queue) failed(ctx context.Context, action string, err error) error {
	return fault.Wrap(fault.Internal, q.explain(ctx, action, err), "the late queue cannot be read")
}

// applyAll applies messages until one has to wait, and returns those that are done.
func (q *Queue) applyAll(ctx context.Context, list []types.Message, apply func(context.Context, admission.Settlement) error) ([]types.Message, error) {
	var done []types.Message
	for _, m := range list {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		s, err := Decode(aws.ToString(m.Body))
		if err == nil {
			if err = apply(ctx, s); passing(ctx, err) {
				return done, err
			}
		}
		if err != nil {
			q.log.Error("a late settlement was not applied; the queue's redrive policy decides what becomes of it",
				"message", aws.ToString(m.MessageId), "error", err, "content", aws.ToString(m.Body))
			continue
		}
		done = append(done, m)
	}
	return done, nil
}

// passing says whether a settlement that was not applied may be later.
func passing(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		fault.CodeOf(err) == fault.StoreDown)
}

// remove deletes what was applied, also when the caller's time is over: what stays
// is only applied again, but each time counts for the redrive policy.
func (q *Queue) remove(ctx context.Context, done []types.Message) error {
	if len(done) == 0 {
		return nil
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
	for i, m := range done {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	out, err := q.api.DeleteMessageBatch(ctx, in)
	if err != nil {
		return q.failed(ctx, "sqs:DeleteMessage", err)
	}
	var errs error
	for _, f := range out.Failed {
		errs = errors.Join(errs, fmt.Errorf("%s: %s", aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	if errs != nil {
		return q.failed(ctx, "sqs:DeleteMessage", errs)
	}
	return nil
}
