package sqs_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const queueURL = "https://sqs.eu-central-1.amazonaws.com/111122223333/late"

// standIn speaks AWS JSON 1.0 as SQS does
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html):
// a standard queue with a dead-letter queue.
type standIn struct {
	t       testing.TB
	hides   bool // what was received stays invisible until reveal
	redrive int  // how often a message is received before it is dead; 0 = for ever

	mu       sync.Mutex
	messages []*message
	dead     []*message
	sent     int
	asked    []string        // actions, in order
	refusals map[string]bool // codes with which the next requests end
	keep     map[string]bool // bodies whose deletion fails
}

type message struct {
	ID       string `json:"MessageId"`
	Handle   string `json:"ReceiptHandle"`
	Body     string `json:"Body"`
	Sum      string `json:"MD5OfBody"`
	received int
	hidden   bool
}

type request struct {
	QueueURL            string `json:"QueueUrl"`
	MessageBody         string
	MaxNumberOfMessages int
	WaitTimeSeconds     int
	Entries             []struct {
		ID            string `json:"Id"`
		ReceiptHandle string
	}
}

// newStandIn starts a stand-in and returns a client of it that does not try again.
func newStandIn(t testing.TB) (*standIn, *sqs.Client) {
	t.Helper()
	s := &standIn{t: t, refusals: map[string]bool{}, keep: map[string]bool{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, client(server.URL)
}

func client(url string) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Timeout: 10 * time.Second},
		Retryer: retry.AddWithMaxAttempts(retry.NewStandard(), 1),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test-id", SecretAccessKey: "test-key"}, nil
		}),
	})
}

// refuse makes every further request of an action end with an exception.
func (s *standIn) refuse(action, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals[action+" "+code] = true
}

// reveal is the end of the visibility timeout.
func (s *standIn) reveal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		m.hidden = false
	}
}

// add puts a body into the queue that no client of ours sent.
func (s *standIn) add(body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(body)
}

// bodies are those in the queue and those in its dead-letter queue.
func (s *standIn) bodies() (live, dead []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		live = append(live, m.Body)
	}
	for _, m := range s.dead {
		dead = append(dead, m.Body)
	}
	return live, dead
}

func (s *standIn) actions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.t.Errorf("request body: %v", err)
	}
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.0" || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/sqs/aws4_request") {
		s.t.Errorf("no signed request of AWS JSON 1.0: %v", r.Header)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, action)
	out, exception := s.answer(action, in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if exception != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": "com.amazonaws.sqs#" + exception, "message": "refused by the stand-in"}
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.t.Errorf("answer: %v", err)
	}
}

func (s *standIn) answer(action string, in request) (out any, exception string) {
	for refusal := range s.refusals {
		if of, code, _ := strings.Cut(refusal, " "); of == action {
			return nil, code
		}
	}
	switch {
	case in.QueueURL != queueURL:
		return nil, "QueueDoesNotExist"
	case action == "SendMessage":
		if !permitted(in.MessageBody) {
			return nil, "InvalidMessageContents"
		}
		m := s.send(in.MessageBody)
		return map[string]string{"MessageId": m.ID, "MD5OfMessageBody": m.Sum}, ""
	case action == "ReceiveMessage":
		if in.MaxNumberOfMessages != 10 || in.WaitTimeSeconds != 0 {
			s.t.Errorf("%d messages are asked for, in %d seconds; want 10 at once", in.MaxNumberOfMessages, in.WaitTimeSeconds)
		}
		return map[string]any{"Messages": s.receive(in.MaxNumberOfMessages)}, ""
	case action == "DeleteMessageBatch":
		return s.remove(in)
	default:
		s.t.Errorf("nobody should ask for %s", action)
		return nil, "InvalidAction"
	}
}

// permitted says whether SQS takes a body
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html).
func permitted(body string) bool {
	bad := func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
	}
	return len(body) > 0 && len(body) <= 1<<20 && !strings.ContainsFunc(body, bad)
}

func (s *standIn) send(body string) *message {
	s.sent++
	sum := md5.Sum([]byte(body))
	m := &message{ID: fmt.Sprintf("m-%d", s.sent), Body: body, Sum: hex.EncodeToString(sum[:])}
	s.messages = append(s.messages, m)
	return m
}

// receive gives the newest first: a standard queue promises no order.
func (s *standIn) receive(most int) []message {
	var list []message
	for _, m := range slices.Backward(slices.Clone(s.messages)) {
		if m.hidden || len(list) == most {
			continue
		}
		if m.received++; s.redrive > 0 && m.received > s.redrive {
			s.messages = slices.DeleteFunc(s.messages, func(other *message) bool { return other == m })
			s.dead = append(s.dead, m)
			continue
		}
		m.Handle = fmt.Sprintf("%s-%d", m.ID, m.received)
		m.hidden = s.hides
		list = append(list, *m)
	}
	return list
}

func (s *standIn) remove(in request) (out any, exception string) {
	var gone, failed []map[string]any
	ids := map[string]bool{}
	for _, e := range in.Entries {
		if ids[e.ID] {
			return nil, "BatchEntryIdsNotDistinct"
		}
		ids[e.ID] = true
		at := slices.IndexFunc(s.messages, func(m *message) bool { return m.Handle == e.ReceiptHandle })
		if at < 0 || s.keep[s.messages[at].Body] {
			failed = append(failed, map[string]any{"Id": e.ID, "Code": "InternalError", "Message": "try again", "SenderFault": false})
			continue
		}
		s.messages = slices.Delete(s.messages, at, at+1)
		gone = append(gone, map[string]any{"Id": e.ID})
	}
	if len(ids) == 0 || len(ids) > 10 {
		return nil, "TooManyEntriesInBatchRequest"
	}
	return map[string]any{"Successful": gone, "Failed": failed}, ""
}
