package cloudtest

import (
	"crypto/md5" //nolint:gosec // SQS sums bodies with it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// Queue is the URL of the one queue there is.
const Queue = "https://sqs.eu-central-1.amazonaws.com/111122223333/late"

// SQS is one standard queue. What was received is received again until it is deleted.
type SQS struct {
	t testing.TB

	mu       sync.Mutex
	sent     int
	messages []queued
}

type queued struct {
	ID     string `json:"MessageId"`
	Handle string `json:"ReceiptHandle"`
	Body   string
	Sum    string `json:"MD5OfBody"`
}

func newSQS(t testing.TB) *SQS { return &SQS{t: t} }

// Len is the number of messages in the queue.
func (q *SQS) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// answer is what SQS says to an action
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html).
func (q *SQS) answer(action string, in []byte) (out any, exception string, err error) {
	var r struct {
		QueueURL    string `json:"QueueUrl"`
		MessageBody string
		Max         int `json:"MaxNumberOfMessages"`
		Entries     []struct {
			ID     string `json:"Id"`
			Handle string `json:"ReceiptHandle"`
		}
	}
	if err := json.Unmarshal(in, &r); err != nil {
		return nil, "", err
	}
	if r.QueueURL != Queue {
		return nil, "com.amazonaws.sqs#QueueDoesNotExist", nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch action {
	case "SendMessage":
		q.sent++
		sum := md5.Sum([]byte(r.MessageBody))
		m := queued{ID: strconv.Itoa(q.sent), Handle: "handle-" + strconv.Itoa(q.sent), Body: r.MessageBody, Sum: hex.EncodeToString(sum[:])}
		q.messages = append(q.messages, m)
		return map[string]string{"MessageId": m.ID, "MD5OfMessageBody": m.Sum}, "", nil
	case "ReceiveMessage":
		return map[string]any{"Messages": q.messages[:min(len(q.messages), max(r.Max, 1))]}, "", nil
	case "DeleteMessageBatch":
		done := []map[string]string{}
		for _, e := range r.Entries {
			q.messages = slices.DeleteFunc(q.messages, func(m queued) bool { return m.Handle == e.Handle })
			done = append(done, map[string]string{"Id": e.ID})
		}
		return map[string]any{"Successful": done, "Failed": []any{}}, "", nil
	}
	return nil, "", fmt.Errorf("there is no action %s", action)
}
