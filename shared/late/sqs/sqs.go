// Package sqs is the late queue as a queue of Amazon SQS, for processes that leave
// no disk behind them.
//
// A standard queue gives a message at least once and in any order, which settlements
// bear. What Drain, or a function that SQS invokes with batches, receives and does
// not delete comes back after the queue's visibility timeout, and is moved to the
// dead-letter queue when it has been received more often than the redrive policy's
// maxReceiveCount, which is 10 unless it is set
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html).
// While the store is down each attempt counts too: visibility timeout times
// maxReceiveCount must be longer than an outage that is to be sat out.
//
// It is a package of its own so that a binary without SQS has no SDK of it.
package sqs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/late"
)

// MaxBody is how many bytes a message of SQS can have. A queue may allow fewer
// (MaximumMessageSize); SQS raised the limit from 256 KiB
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
const MaxBody = 1 << 20

// API is what is asked of SQS; *sqs.Client is one.
type API interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// Options say which queue it is.
type Options struct {
	API      API
	QueueURL string       // of a standard queue
	Logger   *slog.Logger // is told of what cannot be applied, with its content
}

// Queue is a late queue in SQS. It is safe for concurrent use, and by any number of
// processes.
type Queue struct {
	api API
	url string
	log *slog.Logger
}

// New is the queue of the options. Nothing is asked of SQS before the first use. It
// errs when the URL is not that of a standard queue: a FIFO queue would hold back
// what follows a settlement that cannot be applied.
func New(o Options) (*Queue, error) {
	at, err := url.Parse(o.QueueURL)
	if err != nil || at.Host == "" || at.Path == "" {
		return nil, fmt.Errorf("late queue: QueueURL is %q (want the URL of an SQS queue, such as https://sqs.eu-central-1.amazonaws.com/ACCOUNT/NAME)", o.QueueURL)
	}
	if strings.HasSuffix(at.Path, ".fifo") {
		return nil, fmt.Errorf("late queue: QueueURL is %q, a FIFO queue (want a standard queue)", o.QueueURL)
	}
	return &Queue{api: o.API, url: o.QueueURL, log: o.Logger}, nil
}

// Put sends a settlement and returns when SQS has it. It errs with fault.StoreDown
// when SQS does not take it, with fault.TooLarge for one over MaxBody, and with
// fault.Internal as late.Encode does.
func (q *Queue) Put(ctx context.Context, s admission.Settlement) error {
	text, err := late.Encode(s)
	if err != nil {
		return err
	}
	text = sendable(text)
	if len(text) > MaxBody {
		return fault.New(fault.TooLarge, "the settlement of call %s has %d bytes; a message of SQS has at most %d", s.Call, len(text), MaxBody)
	}
	_, err = q.api.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String(string(text))})
	if err != nil {
		return fault.Wrap(fault.StoreDown, q.explain(ctx, "sqs:SendMessage", err), "the late queue cannot be written; the settlement was not kept")
	}
	return nil
}

// sendable replaces what JSON can hold and SQS refuses: of the characters that JSON
// does not escape these are U+FFFE, U+FFFF and what is no UTF-8 at all
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
// Outside strings JSON has none of them.
func sendable(text []byte) []byte {
	text = bytes.ToValidUTF8(text, []byte(`\ufffd`))
	text = bytes.ReplaceAll(text, []byte("\ufffe"), []byte(`\ufffe`))
	return bytes.ReplaceAll(text, []byte("\uffff"), []byte(`\uffff`))
}

// Decode reads the body of a message, for a function that SQS invokes with batches.
// It errs with fault.Invalid for a body that is no settlement.
func Decode(body string) (admission.Settlement, error) { return late.Decode([]byte(body)) }

// explain says what an operator should look at; the answer of SQS is the cause. A
// caller that gave up is no reason to look at anything.
func (q *Queue) explain(ctx context.Context, action string, err error) error {
	if gone := ctx.Err(); gone != nil {
		return fmt.Errorf("SQS queue %s: %s: %w", q.url, action, errors.Join(gone, err))
	}
	return fmt.Errorf("SQS queue %s: %s: %s: %w", q.url, action, advice(action, err), err)
}

func advice(action string, err error) string {
	answer, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		return "SQS could not be reached: look at the region, the VPC endpoint or NAT, and the role's credentials"
	}
	// Of a queue the old protocol's code may come with a prefix.
	switch code := answer.ErrorCode(); strings.TrimPrefix(code, "AWS.SimpleQueueService.") {
	case "QueueDoesNotExist", "NonExistentQueue":
		return "there is no such queue: look at the URL, its region and its account"
	case "AccessDenied", "AccessDeniedException":
		return "the role may not: allow " + action + " in its policy and the queue's"
	case "InvalidParameterValue", "InvalidMessageContents":
		return "SQS does not take the message: look at the queue's MaximumMessageSize"
	case "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch":
		return "SQS does not take the role's credentials: renew them, and look at the clock of this machine"
	default:
		if strings.HasPrefix(code, "Kms") {
			return "the queue's KMS key cannot be used: allow the role kms:GenerateDataKey and kms:Decrypt on it, and look at its state"
		}
		return "SQS refused or failed; if it persists, look at the queue and the service's health"
	}
}
