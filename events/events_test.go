package events

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

// kinds are the Go types of the samples, by the beginning of their file's name.
func kinds() map[string]any {
	return map[string]any{
		"rest-api-":     events.APIGatewayProxyRequest{},
		"function-url-": events.LambdaFunctionURLRequest{},
		"scheduler-":    Tick{},
		"sqs-":          events.SQSEvent{},
	}
}

func strict(t *testing.T, b []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Error("something follows the event")
	}
}

// TestSamples holds every sample to its Go type: no member that the type does not
// have, and none that is lost or changed when it is written again.
func TestSamples(t *testing.T) {
	names, err := fs.Glob(Samples, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			sample, err := Samples.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for prefix, kind := range kinds() {
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				seen[prefix] = true
				event := reflect.New(reflect.TypeOf(kind)).Interface()
				strict(t, sample, event)
				again, err := json.Marshal(event)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(members(t, sample), members(t, again)); diff != "" {
					t.Errorf("(-sample +written again)\n%s", diff)
				}
				return
			}
			t.Error("no Go type is known for it: add it to kinds")
		})
	}
	for prefix := range kinds() {
		if !seen[prefix] {
			t.Errorf("there is no sample of %s…", prefix)
		}
	}
}

// members is JSON as a tree, without members that are null or empty, which a Go
// type may add or leave out.
func members(t *testing.T, b []byte) any {
	t.Helper()
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	return filled(tree)
}

func filled(tree any) any {
	object, ok := tree.(map[string]any)
	if !ok {
		return tree
	}
	for name, value := range object {
		value = filled(value)
		if inner, ok := value.(map[string]any); value == nil || value == "" || ok && len(inner) == 0 {
			delete(object, name)
			continue
		}
		object[name] = value
	}
	return object
}

func TestTick(t *testing.T) {
	for _, job := range []string{"sweep", "rollup"} {
		sample, err := Samples.ReadFile("scheduler-" + job + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var got Tick
		strict(t, sample, &got)
		want := Tick{Job: job, Scheduled: time.Date(2026, 11, 26, 18, 30, 0, 0, time.UTC)}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if b, err := json.Marshal(want); err != nil || string(b) != strings.TrimSpace(string(sample)) {
			t.Errorf("%s, %v", b, err)
		}
	}
}
