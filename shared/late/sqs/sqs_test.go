package sqs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/late"
	"sluice/shared/late/latetest"
	"sluice/shared/late/sqs"
)

func open(t testing.TB, api sqs.API) (*sqs.Queue, *bytes.Buffer) {
	t.Helper()
	var told bytes.Buffer
	q, err := sqs.New(sqs.Options{API: api, QueueURL: queueURL, Logger: slog.New(slog.NewJSONHandler(&told, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return q, &told
}

func TestConformance(t *testing.T) {
	latetest.Run(t, func(t *testing.T) latetest.Opener {
		_, api := newStandIn(t)
		return func() (latetest.Queue, error) {
			return sqs.New(sqs.Options{API: api, QueueURL: queueURL, Logger: slog.New(slog.DiscardHandler)})
		}
	})
}

func TestQueueURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                                       "want the URL",
		"late":                                   "want the URL",
		"https://%zz":                            "want the URL",
		"https://sqs.eu-central-1.amazonaws.com": "want the URL",
		queueURL + ".fifo":                       "want a standard queue",
	} {
		if _, err := sqs.New(sqs.Options{QueueURL: url}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "QueueURL") {
			t.Errorf("New with %q = %v, want %q", url, err, want)
		}
	}
}

func TestBodies(t *testing.T) {
	s, api := newStandIn(t)
	q, _ := open(t, api)
	settlement := latetest.Settlement(1)
	settlement.Row = json.RawMessage("{\"a\":\"\ufffe \uffff \xff \\u0001\"}")
	if err := q.Put(t.Context(), settlement); err != nil {
		t.Fatal(err)
	}
	live, _ := s.bodies()
	got, err := sqs.Decode(live[0])
	if err != nil || got.Call != settlement.Call {
		t.Errorf("%q is %v, %v", live[0], got, err)
	}
	var row struct{ A string }
	if err := json.Unmarshal(got.Row, &row); err != nil || row.A != "\ufffe \uffff \ufffd \x01" {
		t.Errorf("the row is %q, %v", row.A, err)
	}
}

func TestTooLarge(t *testing.T) {
	s, api := newStandIn(t)
	q, _ := open(t, api)
	settlement := latetest.Settlement(1)
	settlement.Row = nil
	bare, err := late.Encode(settlement)
	if err != nil {
		t.Fatal(err)
	}
	room := sqs.MaxBody - len(bare) - len(`,"row":""`)
	row := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }
	settlement.Row = row(room)
	if err := q.Put(t.Context(), settlement); err != nil {
		t.Errorf("Put of the largest: %v", err)
	}
	settlement.Row = row(room + 1)
	if err := q.Put(t.Context(), settlement); fault.CodeOf(err) != fault.TooLarge || !strings.Contains(err.Error(), "1048577 bytes") {
		t.Errorf("Put of a larger one = %v", err)
	}
	if live, _ := s.bodies(); len(live) != 1 || len(live[0]) != sqs.MaxBody {
		t.Errorf("%d messages", len(live))
	}
}

func TestBatches(t *testing.T) {
	s, api := newStandIn(t)
	s.hides = true
	q, told := open(t, api)
	for n := range 23 {
		latetest.Put(t, q, n)
	}
	var sink latetest.Sink
	n, err := q.Drain(t.Context(), sink.Apply)
	if n != 23 || err != nil || sink.Len() != 23 || told.Len() > 0 {
		t.Errorf("Drain = %d, %v, %d applied: %s", n, err, sink.Len(), told)
	}
	sink.Once(t)
	var want []string
	for range 3 {
		want = append(want, "ReceiveMessage", "DeleteMessageBatch")
	}
	if diff := cmp.Diff(append(want, "ReceiveMessage"), s.actions()[23:]); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// What cannot be applied ends in the dead-letter queue, and holds nothing up.
func TestDeadLetters(t *testing.T) {
	for _, hides := range []bool{true, false} {
		t.Run(fmt.Sprintf("hidden %v", hides), func(t *testing.T) {
			s, api := newStandIn(t)
			s.hides, s.redrive = hides, 3
			q, told := open(t, api)
			s.add("{")
			latetest.Put(t, q, 1, 2)
			refused, _ := s.bodies()
			sink := &latetest.Sink{Refuse: func(got admission.Settlement) error {
				if got.Call == "call_2" {
					return errors.New("wrong type of value")
				}
				return nil
			}}
			for range 8 {
				if _, err := q.Drain(t.Context(), sink.Apply); err != nil {
					t.Fatal(err)
				}
				s.reveal()
			}
			sink.Want(t, 1)
			live, dead := s.bodies()
			slices.Sort(dead)
			if diff := cmp.Diff([]string{"{", refused[2]}, dead); diff != "" || len(live) > 0 {
				t.Errorf("%q live; dead (-want +got):\n%s", live, diff)
			}
			for _, want := range []string{`"level":"ERROR"`, "wrong type of value", "cannot be read", `"content":"{"`, "call_2", `"message":"m-1"`} {
				if !strings.Contains(told.String(), want) {
					t.Errorf("the log lacks %q: %s", want, told)
				}
			}
		})
	}
}

func TestStoreDownLeavesTheRest(t *testing.T) {
	s, api := newStandIn(t)
	s.hides = true
	q, told := open(t, api)
	latetest.Put(t, q, 1, 2, 3)
	sink := latetest.Down(2, fault.New(fault.StoreDown, "down"))
	if n, err := q.Drain(t.Context(), sink.Apply); n != 2 || fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if live, _ := s.bodies(); len(live) != 1 || !strings.Contains(live[0], "call_1") || told.Len() > 0 {
		t.Errorf("left: %q; the log says %q", live, told)
	}
}

// What was applied is deleted although the caller's time is over.
func TestEndedAfterTheFirst(t *testing.T) {
	s, api := newStandIn(t)
	q, _ := open(t, api)
	latetest.Put(t, q, 1, 2, 3)
	ctx, cancel := context.WithCancel(t.Context())
	n, err := q.Drain(ctx, func(context.Context, admission.Settlement) error { cancel(); return nil })
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if live, _ := s.bodies(); len(live) != 2 {
		t.Errorf("%d are left, want 2", len(live))
	}
}

func TestAppliedButNotDeleted(t *testing.T) {
	s, api := newStandIn(t)
	q, _ := open(t, api)
	latetest.Put(t, q, 1, 2)
	live, _ := s.bodies()
	s.keep[live[0]] = true
	var sink latetest.Sink
	n, err := q.Drain(t.Context(), sink.Apply)
	if n != 2 || err == nil || fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), "InternalError: try again") {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if left, _ := s.bodies(); len(left) != 1 || left[0] != live[0] {
		t.Errorf("left: %q", left)
	}
}

func TestRefusals(t *testing.T) {
	for code, want := range map[string]string{
		"QueueDoesNotExist":           "there is no such queue",
		"AccessDeniedException":       "the role may not: allow sqs:ACTION",
		"InvalidMessageContents":      "MaximumMessageSize",
		"UnrecognizedClientException": "renew them",
		"KmsAccessDenied":             "kms:GenerateDataKey",
		"RequestThrottled":            "if it persists",
	} {
		for action, permission := range map[string]string{
			"SendMessage": "SendMessage", "ReceiveMessage": "ReceiveMessage", "DeleteMessageBatch": "DeleteMessage",
		} {
			s, api := newStandIn(t)
			q, _ := open(t, api)
			s.add(`{"call":"a"}`)
			s.refuse(action, code)
			var err error
			is := fault.Internal
			if action == "SendMessage" {
				err = q.Put(t.Context(), latetest.Settlement(1))
				is = fault.StoreDown
			} else {
				_, err = q.Drain(t.Context(), func(context.Context, admission.Settlement) error { return nil })
			}
			want := strings.ReplaceAll(want, "ACTION", permission)
			if err == nil || fault.CodeOf(err) != is || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), queueURL) {
				t.Errorf("%s after %s = %v, want %q", action, code, err, want)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	q, _ := open(t, client("http://127.0.0.1:1"))
	err := q.Put(t.Context(), latetest.Settlement(1))
	if fault.CodeOf(err) != fault.StoreDown || !strings.Contains(err.Error(), "could not be reached") {
		t.Errorf("Put = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Put(ctx, latetest.Settlement(1)); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "look at") {
		t.Errorf("Put of a caller that gave up = %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"call":"a","p":1,"plan":{"shares":null},"cost_usd":"0.1","tokens":2,"row":{"a":1}}`)
	f.Add(`{"call":""}`)
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, body string) {
		s, err := sqs.Decode(body)
		switch {
		case err != nil && fault.CodeOf(err) != fault.Invalid:
			t.Errorf("Decode(%q) = %v", body, err)
		case err == nil && s.Call == "":
			t.Errorf("Decode(%q) names no call", body)
		case err == nil:
			if _, err := late.Encode(s); err != nil {
				t.Errorf("%q cannot be encoded: %v", body, err)
			}
		}
	})
}
