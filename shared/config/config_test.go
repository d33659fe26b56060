package config

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/secret"
)

var secrets = cmp.Comparer(func(a, b secret.Value) bool { return a.Reveal() == b.Reveal() })

func defaults() Config {
	return Config{
		Listen: "127.0.0.1:8080", MetricsListen: "127.0.0.1:9090", DataDir: "data", LogLevel: slog.LevelInfo,
		StreamMax: 30 * time.Minute, StreamIdle: 2 * time.Minute, HeaderTimeout: 10 * time.Minute, PingEvery: 15 * time.Second,
		DrainTimeout: 15 * time.Second, ShutdownTimeout: 30 * time.Minute,
		MaxBody: 32 << 20, BodyMemory: 512 << 20, Attempts: 3,
	}
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		change  func(*Config)
	}{
		"nothing":          {nil, func(*Config) {}},
		"empty is unset":   {[]string{"SLUICE_LISTEN=", "SLUICE_REDIS_URL="}, func(*Config) {}},
		"others' names":    {[]string{"PATH=/bin", "SLUICEX=1", "=C:=x", "odd"}, func(*Config) {}},
		"the first counts": {[]string{"SLUICE_ATTEMPTS=2", "SLUICE_ATTEMPTS=4"}, func(c *Config) { c.Attempts = 2 }},
		"a quarter of the memory limit": {[]string{"GOMEMLIMIT=4GiB"}, func(c *Config) {
			c.BodyMemory = 1 << 30
		}},
		"a memory limit in bytes": {[]string{"GOMEMLIMIT=1073741824"}, func(c *Config) { c.BodyMemory = 256 << 20 }},
		"a memory limit too low":  {[]string{"GOMEMLIMIT=64MiB"}, func(c *Config) { c.BodyMemory = c.MaxBody }},
		"no memory limit":         {[]string{"GOMEMLIMIT=off"}, func(*Config) {}},
		"shutdown follows stream": {[]string{"SLUICE_STREAM_MAX=1h"}, func(c *Config) { c.StreamMax, c.ShutdownTimeout = time.Hour, time.Hour }},
		"everything": {[]string{
			"SLUICE_LISTEN=:80", "SLUICE_METRICS_LISTEN=off", "SLUICE_REDIS_URL=rediss://user:test-key@redis.test:6379/0",
			"SLUICE_DATA_DIR=/var/lib/sluice", "SLUICE_ADMIN_TOKEN=test-token-test-token", "SLUICE_LOG_LEVEL=warn",
			"SLUICE_STREAM_MAX=5m", "SLUICE_STREAM_IDLE=60s", "SLUICE_HEADER_TIMEOUT=30s", "SLUICE_PING_EVERY=0s",
			"SLUICE_DRAIN_TIMEOUT=0", "SLUICE_SHUTDOWN_TIMEOUT=10s", "SLUICE_MAX_BODY=1MiB", "SLUICE_BODY_MEMORY=2GB",
			"SLUICE_REDIS_IAM=serverless/sluice", "SLUICE_KMS_KEY=arn:aws:kms:eu-west-1:000000000000:key/k", "SLUICE_CONFIG_BUCKET=b",
			"SLUICE_TRACE=true", "SLUICE_EMF_EVERY=20s", "SLUICE_LATE_QUEUE=https://sqs.test/q",
			"SLUICE_ARCHIVE_BUCKET=a",
			"SLUICE_ATTEMPTS=5", "SLUICE_PRICES=prices.json", "SLUICE_QUERY_KEY=true", "SLUICE_SIMULATOR=true", "ANTHROPIC_API_KEY=test-key",
		}, func(c *Config) {
			*c = Config{
				Listen: ":80", RedisURL: secret.New("rediss://user:test-key@redis.test:6379/0"), DataDir: "/var/lib/sluice",
				AdminToken: secret.New("test-token-test-token"), LogLevel: slog.LevelWarn,
				StreamMax: 5 * time.Minute, StreamIdle: time.Minute, HeaderTimeout: 30 * time.Second, ShutdownTimeout: 10 * time.Second,
				MaxBody: 1 << 20, BodyMemory: 2 << 30, Attempts: 5, Prices: "prices.json", QueryKey: true, Simulator: true,
				AnthropicAPIKey: secret.New("test-key"), RedisIAM: "serverless/sluice",
				KMSKey: "arn:aws:kms:eu-west-1:000000000000:key/k", ConfigBucket: "b", LateQueue: "https://sqs.test/q", Trace: true, EMFEvery: 20 * time.Second,
				ArchiveBucket: "a",
			}
		}},
		"admin secret": {[]string{"SLUICE_ADMIN_SECRET=arn:aws:secretsmanager:eu-west-1:000000000000:secret:s"}, func(c *Config) {
			c.AdminSecret = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			c.change(&want)
			got, err := Read(c.environ)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got, secrets); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for environ, want := range map[string]string{
		"SLUICE_STREAM_IDLE=abc":                   "SLUICE_STREAM_IDLE=abc: not a duration (want e.g. 120s)",
		"SLUICE_STREAM_MAX=0s":                     "SLUICE_STREAM_MAX=0s: too short (want 1s or more)",
		"SLUICE_STREAMIDLE=5s":                     "SLUICE_STREAMIDLE: no such setting (did you mean SLUICE_STREAM_IDLE?)",
		"SLUICE_REDISURL=redis://x:test-key@h":     "SLUICE_REDISURL: no such setting (did you mean SLUICE_REDIS_URL?)",
		"SLUICE_LISTEN=8080":                       "SLUICE_LISTEN=8080: not an address (want host:port, e.g. 127.0.0.1:8080)",
		"SLUICE_LISTEN=127.0.0.1:http":             "SLUICE_LISTEN=127.0.0.1:http: not an address (want host:port, e.g. 127.0.0.1:8080)",
		"SLUICE_METRICS_LISTEN=no":                 "SLUICE_METRICS_LISTEN=no: not an address (want host:port, e.g. 127.0.0.1:8080)",
		"SLUICE_REDIS_URL=http://x:test-key@h":     "SLUICE_REDIS_URL: not the URL of a Redis (want redis://host:6379 or rediss://user:password@host:6379)",
		"SLUICE_REDIS_URL=redis://x:test-key%zz@h": "SLUICE_REDIS_URL: not the URL of a Redis (want redis://host:6379 or rediss://user:password@host:6379)",
		"SLUICE_ADMIN_TOKEN=short":                 "SLUICE_ADMIN_TOKEN: too short (want 16 characters or more)",
		"SLUICE_LOG_LEVEL=loud":                    "SLUICE_LOG_LEVEL=loud: not a level (want debug, info, warn or error)",
		"SLUICE_ATTEMPTS=0":                        "SLUICE_ATTEMPTS=0: not a number from 1 to 10",
		"SLUICE_ATTEMPTS=many":                     "SLUICE_ATTEMPTS=many: not a number from 1 to 10",
		"SLUICE_MAX_BODY=32TB":                     "SLUICE_MAX_BODY=32TB: not a size (want e.g. 32MB)",
		"SLUICE_MAX_BODY=9000000000GB":             "SLUICE_MAX_BODY=9000000000GB: not a size (want e.g. 32MB)",
		"SLUICE_REDIS_IAM=sluice":                  "SLUICE_REDIS_IAM=sluice: not a store to sign in to (want serverless/NAME, nodes/NAME or memorydb/NAME)",
		"SLUICE_REDIS_IAM=nodes/s":                 "SLUICE_REDIS_IAM: needs SLUICE_REDIS_URL=rediss://USER@HOST:6379: IAM signs in over TLS only",
		"SLUICE_LATE_QUEUE=q":                      "SLUICE_LATE_QUEUE=q: not a URL (want https://HOST/PATH)",
		"SLUICE_KMS_KEY=alias/k":                   "SLUICE_KMS_KEY=alias/k: not an ARN (want arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE)",
		"SLUICE_CONFIG_BUCKET=b":                   "SLUICE_CONFIG_BUCKET: needs SLUICE_KMS_KEY: a log that outlives this machine must not be sealed with a key that does not",
		"SLUICE_ADMIN_SECRET=arn:a:b:c:d:e SLUICE_ADMIN_TOKEN=test-token-test-token": "SLUICE_ADMIN_SECRET: not together with SLUICE_ADMIN_TOKEN",
		"SLUICE_QUERY_KEY=yes":                         "SLUICE_QUERY_KEY=yes: neither true nor false",
		"SLUICE_BODY_MEMORY=1MB":                       "SLUICE_BODY_MEMORY=1048576: smaller than SLUICE_MAX_BODY=33554432: no body would fit",
		"SLUICE_ATTEMPTS=x SLUICE_X=1 SLUICE_LISTEN=y": "SLUICE_LISTEN=y: not an address (want host:port, e.g. 127.0.0.1:8080)\nSLUICE_ATTEMPTS=x: not a number from 1 to 10\nSLUICE_X: no such setting (did you mean SLUICE_TRACE?)",
	} {
		_, err := Read(strings.Fields(environ))
		if err == nil {
			t.Errorf("%s: no error", environ)
			continue
		}
		if got := err.Error(); got != want {
			t.Errorf("%s: got %q, want %q", environ, got, want)
		}
	}
}

func TestTableIsWhole(t *testing.T) {
	if got, want := len(Table()), reflect.TypeFor[Config]().NumField(); got != want {
		t.Errorf("%d settings, %d fields", got, want)
	}
	seen := map[string]bool{}
	var printed bytes.Buffer
	if err := Print(&printed); err != nil {
		t.Fatal(err)
	}
	for _, s := range Table() {
		if seen[s.Name] || s.Meaning == "" {
			t.Errorf("%s: twice, or without a meaning", s.Name)
		}
		seen[s.Name] = true
		if !strings.Contains(printed.String(), s.Name) {
			t.Errorf("%s is not printed", s.Name)
		}
	}
}

func TestConfigLogsNoSecrets(t *testing.T) {
	c, err := Read([]string{"SLUICE_REDIS_URL=redis://:test-key@redis.test:6379", "SLUICE_ADMIN_TOKEN=test-key-test-key", "ANTHROPIC_API_KEY=test-key"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("start", "config", c, "again", c)
	if strings.Contains(log.String(), "test-key") || !strings.Contains(log.String(), "127.0.0.1:8080") {
		t.Errorf("logged %s", &log)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("SLUICE_LISTEN", "127.0.0.1:8080")
	f.Add("SLUICE_MAX_BODY", "1KiB")
	f.Add("SLUICE_REDIS_URL", "redis://h")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := Read([]string{name + "=" + value})
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c != nil && (c.BodyMemory < c.MaxBody || c.MaxBody <= 0 || c.StreamMax <= 0 || c.Attempts < 1) {
			t.Fatalf("read %+v", c)
		}
	})
}
