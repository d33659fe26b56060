package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/redis/go-redis/v9"

	"sluice/events"
	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/host/hosttest"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
	"sluice/shared/vault"
)

// bootstrap is the path of the function, built for these tests as it is deployed.
var bootstrap string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-sweep")
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

// function starts the bootstrap, with a stand-in for the Lambda service.
func function(t *testing.T, redisURL string) *hosttest.Lambda {
	t.Helper()
	l := hosttest.NewLambda()
	t.Cleanup(l.Close)
	cmd := exec.Command(bootstrap)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + l.Addr(), "AWS_LAMBDA_FUNCTION_NAME=sweep", "AWS_REGION=eu-west-1",
		"AWS_ACCESS_KEY_ID=test-key", "AWS_SECRET_ACCESS_KEY=test-key", "SLUICE_REDIS_URL=" + redisURL,
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
func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := events.Samples.ReadFile(name)
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

func TestSweepsOnSchedule(t *testing.T) {
	s := storetest.Single(t)
	client := s.Client(t)
	key := abandonCall(t, client)
	books := ledger.New(client)
	if b, err := books.Balance(t.Context(), key.partition, &key.owner); err != nil || b.Held == 0 || b.Open != 1 {
		t.Fatalf("the call of a dead process: %+v, %v", b, err)
	}

	// Somebody swept a moment ago: else the call would get its time once more.
	if err := client.Redis().Set(t.Context(), store.Swept(key.partition), time.Now().UnixMilli(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	l := function(t, s.URL().Reveal())
	for _, want := range []string{`{"settled":1}`, `{"settled":0}`} {
		if got, err := invoke(t, l, sample(t, "scheduler-sweep.json")); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	b, err := books.Balance(t.Context(), key.partition, &key.owner)
	if err != nil || b.Held != 0 || b.Open != 0 {
		t.Errorf("after the sweep: %+v, %v", b, err)
	}
}

// A settlement of the late queue closes its call; one that cannot be made is
// reported, and only it comes again.
func TestSettlesTheLateQueue(t *testing.T) {
	s := storetest.Single(t)
	client := s.Client(t)
	books := ledger.New(client)
	key := abandonCall(t, client)
	settled := key.grant.Settlement(money.Dollar/4, 10, []byte(`{"call":"x","cost_usd":"0.25"}`))
	body, err := json.Marshal(settled)
	if err != nil {
		t.Fatal(err)
	}
	var batch awsevents.SQSEvent
	if err := json.Unmarshal(sample(t, "sqs-late.json"), &batch); err != nil {
		t.Fatal(err)
	}
	good, bad := batch.Records[0], batch.Records[0]
	good.MessageId, good.Body = "good", string(body)
	bad.MessageId, bad.Body = "bad", "{"
	batch.Records = []awsevents.SQSMessage{good, bad, good}
	payload, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	got, err := invoke(t, function(t, s.URL().Reveal()), payload)
	if want := `{"batchItemFailures":[{"itemIdentifier":"bad"}]}`; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	b, err := books.Balance(t.Context(), key.partition, &key.owner)
	if err != nil || b.Held != 0 || b.Open != 0 || b.Total != money.Dollar/4 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestRefusesOtherJobs(t *testing.T) {
	l := function(t, storetest.Single(t).URL().Reveal())
	for payload, want := range map[string]string{
		`{"job":"rollup"}`: `rollup\": this function sweeps`,
		`{}`:               `job \"\": this function sweeps`,
		`[1]`:              "cannot unmarshal",
	} {
		if answer, err := invoke(t, l, []byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v", payload, answer, err)
		}
	}
}

// A function that cannot reach the store fails, so that the schedule tries again.
func TestFailsWithoutStore(t *testing.T) {
	s := storetest.Own(t)
	l := function(t, s.URL().Reveal())
	if _, err := invoke(t, l, sample(t, "scheduler-sweep.json")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if answer, err := invoke(t, l, sample(t, "scheduler-sweep.json")); err == nil {
		t.Errorf("answers %s", answer)
	}
}

func TestStartNamesTheSetting(t *testing.T) {
	cmd := exec.Command(bootstrap)
	cmd.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_REGION=eu-west-1"}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "SLUICE_REDIS_URL: a deployment needs a store") {
		t.Errorf("%v: %s", err, out)
	}
}

// owned is a key as the ledger knows it.
type owned struct {
	owner     admission.Owner
	partition int
	grant     *admission.Grant
}

// abandonCall admits a call whose process then never renews it, and makes it due.
func abandonCall(t *testing.T, client *store.Client) owned {
	t.Helper()
	ctx := t.Context()
	master, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := archive.OpenFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = changes.Close() })
	held := records.New(records.Options{Client: client, Vault: vault.New(vault.Options{Wrapper: master}), Log: changes})
	token := secret.Mint("sk-sluice-")
	made, err := held.Keys().Create(ctx, "test", admission.Key{
		Owner: admission.Owner{
			ID: llm.NewID("key_", time.Now()), Name: "test", Status: admission.Active,
			Limits: admission.Limits{Budgets: []admission.Budget{{Per: admission.Day, USD: money.Dollar}}},
		},
		Digest: admission.Digest(token), Hint: token.Hint(),
	})
	if err != nil {
		t.Fatal(err)
	}
	gate := admission.New(admission.Options{Store: ledger.New(client)})
	located, err := gate.Locate(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	const hold = money.Dollar / 2
	call := llm.NewID("call_", time.Now())
	grant, err := gate.Admit(ctx, located, admission.Ask{
		Call: call, Protocol: llm.Anthropic, Model: "m", Output: 1, Limit: 1,
		Hold:     func(n int64) (money.Nanos, int64) { return hold, n },
		Progress: func() int64 { return 0 },
		Row: func(int64, money.Nanos) []byte {
			row, _ := json.Marshal(usage.Record{Call: call, Key: made.ID, Outcome: usage.Lost, Estimated: true, Cost: hold, Held: hold})
			return row
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Redis().ZAddXX(ctx, store.Due(located.Partition), redis.Z{Member: call}).Err(); err != nil {
		t.Fatal(err)
	}
	return owned{made.Owner, located.Partition, grant}
}
