package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/events"
	"sluice/shared/host/hosttest"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// bootstrap is the path of the function, built for these tests as it is deployed.
var bootstrap string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-rollup")
	if err == nil {
		bootstrap = filepath.Join(dir, "bootstrap")
		var out []byte
		if out, err = exec.Command("go", "build", "-tags", "lambda.norpc", "-o", bootstrap, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	storetest.Main(m, func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary directory harms nothing
}

// bucket takes objects as S3 does.
type bucket struct {
	url string

	mu      sync.Mutex
	objects map[string]int // bytes by name
	refuse  bool
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{objects: map[string]int{}}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || r.Method != http.MethodPut || b.refuse {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	// The name is in the host's name, but for addresses of numbers.
	b.objects[strings.TrimPrefix(r.URL.Path, "/test-archive")] = len(body)
}

// names are those of the objects that there are.
func (b *bucket) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for name, size := range b.objects {
		if size > 0 {
			all = append(all, name)
		}
	}
	return all
}

func (b *bucket) refuses(all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = all
}

// function starts the bootstrap, with a stand-in for the Lambda service.
func function(t *testing.T, redisURL string, b *bucket) *hosttest.Lambda {
	t.Helper()
	l := hosttest.NewLambda()
	t.Cleanup(l.Close)
	cmd := exec.Command(bootstrap)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + l.Addr(), "AWS_LAMBDA_FUNCTION_NAME=rollup", "AWS_REGION=eu-west-1",
		"AWS_ACCESS_KEY_ID=test-key", "AWS_SECRET_ACCESS_KEY=test-key", "AWS_ENDPOINT_URL_S3=" + b.url,
		"SLUICE_REDIS_URL=" + redisURL, "SLUICE_ARCHIVE_BUCKET=test-archive",
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return l
}

// sample is an invocation as it is delivered.
func sample(t *testing.T) []byte {
	t.Helper()
	b, err := events.Samples.ReadFile("scheduler-rollup.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func invoke(t *testing.T, l *hosttest.Lambda, payload []byte) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := l.Invoke(ctx, payload)
	return string(answer), err
}

func TestRollsUpOnSchedule(t *testing.T) {
	s := storetest.Single(t)
	client := s.Client(t)
	at := time.Now().Add(-time.Hour)
	for i := range 3 {
		if err := client.Redis().XAdd(t.Context(), &redis.XAddArgs{
			Stream: store.Usage(7 + i), ID: fmt.Sprintf("%d-%d", at.UnixMilli(), i), Values: []any{"r", `{"key":"k","cost_usd":"1.50"}`},
		}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b := newBucket(t)
	l := function(t, s.URL().Reveal(), b)
	b.refuses(true)
	if answer, err := invoke(t, l, sample(t)); err == nil || !strings.Contains(err.Error(), "s3:PutObject") {
		t.Errorf("without the archive it answers %s, %v", answer, err)
	}
	b.refuses(false)
	for _, want := range []string{`{"rolled":0,"archived":3,"objects":3}`, `{"rolled":0,"archived":0,"objects":0}`} {
		if got, err := invoke(t, l, sample(t)); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	want := fmt.Sprintf("/usage/day=%s/p=08/%d-1.jsonl.gz", at.UTC().Format(time.DateOnly), at.UnixMilli())
	if names := b.names(); len(names) != 3 || !strings.Contains(strings.Join(names, " "), want) {
		t.Errorf("objects %v; want three, and %s", names, want)
	}
	rows, err := rollup.NewReader(client).Sum(t.Context(), []int{7, 8, 9}, usage.Query{})
	if err != nil || len(rows) != 1 || rows[0].Requests != 3 || rows[0].Cost.String() != "4.50" {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestRefusesOtherJobs(t *testing.T) {
	l := function(t, storetest.Single(t).URL().Reveal(), newBucket(t))
	for payload, want := range map[string]string{
		`{"job":"sweep"}`: `sweep\": this function rolls up`,
		`{}`:              `job \"\": this function rolls up`,
		`[1]`:             "cannot unmarshal",
	} {
		if answer, err := invoke(t, l, []byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v", payload, answer, err)
		}
	}
}

// A function that cannot reach the store fails, so that the schedule tries again.
func TestFailsWithoutStore(t *testing.T) {
	s := storetest.Own(t)
	l := function(t, s.URL().Reveal(), newBucket(t))
	if _, err := invoke(t, l, sample(t)); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if answer, err := invoke(t, l, sample(t)); err == nil {
		t.Errorf("answers %s", answer)
	}
}

func TestStartNamesTheSetting(t *testing.T) {
	for setting, want := range map[string]string{
		"SLUICE_ARCHIVE_BUCKET=b":            "SLUICE_REDIS_URL: a deployment needs a store",
		"SLUICE_REDIS_URL=redis://127.0.0.1": "SLUICE_ARCHIVE_BUCKET: a deployment needs a usage archive",
	} {
		cmd := exec.Command(bootstrap)
		cmd.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_REGION=eu-west-1", setting}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", setting, err, out)
		}
	}
}
