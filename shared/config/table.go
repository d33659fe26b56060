package config

import (
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"sluice/shared/secret"
)

// row is a setting and how it is read.
type row struct {
	Setting
	secret bool // its value is in no message
	read   func(c *Config, value string) error
}

// problem is the line that stops the start.
func (r row) problem(value string, err error) error {
	if r.secret {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	return fmt.Errorf("%s=%s: %w", r.Name, value, err)
}

// table is the settings. Defaults are read like values, so that none is wrong.
func table() []row {
	return []row{
		text("SLUICE_LISTEN", "127.0.0.1:8080", "address of relay and admin API", func(c *Config) *string { return &c.Listen }, address),
		{
			Setting: Setting{"SLUICE_METRICS_LISTEN", "127.0.0.1:9090", "address of metrics and profiles, or off"},
			read:    readMetricsListen,
		},
		hidden("SLUICE_REDIS_URL", "Redis or Valkey, redis:// or rediss://; empty = embedded store", func(c *Config) *secret.Value { return &c.RedisURL }, redisURL),
		text("SLUICE_REDIS_IAM", "", "sign in to the store with IAM, as the user in SLUICE_REDIS_URL: serverless/NAME or nodes/NAME (ElastiCache), or memorydb/NAME", func(c *Config) *string { return &c.RedisIAM }, signIn),
		text("SLUICE_DATA_DIR", "data", "directory of the embedded store and of local files", func(c *Config) *string { return &c.DataDir }, nil),
		text("SLUICE_KMS_KEY", "", "ARN of the KMS key that seals credentials and the config log; unset = a key in SLUICE_DATA_DIR", func(c *Config) *string { return &c.KMSKey }, arn),
		text("SLUICE_CONFIG_BUCKET", "", "S3 bucket of the config log; unset = a file in SLUICE_DATA_DIR", func(c *Config) *string { return &c.ConfigBucket }, nil),
		text("SLUICE_LATE_QUEUE", "", "URL of the SQS queue of settlements that the store did not take; unset = files in SLUICE_DATA_DIR", func(c *Config) *string { return &c.LateQueue }, httpsURL),
		text("SLUICE_ARCHIVE_BUCKET", "", "S3 bucket of the usage archive; unset = files in SLUICE_DATA_DIR", func(c *Config) *string { return &c.ArchiveBucket }, nil),
		hidden("SLUICE_ADMIN_TOKEN", "token of the admin API, 16 characters or more; generated and printed once when unset", func(c *Config) *secret.Value { return &c.AdminToken }, AdminToken),
		text("SLUICE_ADMIN_SECRET", "", "ARN of the Secrets Manager secret that holds the token of the admin API", func(c *Config) *string { return &c.AdminSecret }, arn),
		{
			Setting: Setting{"SLUICE_LOG_LEVEL", "info", "least severe level that is logged: debug, info, warn or error"},
			read:    readLogLevel,
		},
		span("SLUICE_STREAM_MAX", "30m", "longest answer", time.Second, func(c *Config) *time.Duration { return &c.StreamMax }),
		span("SLUICE_STREAM_IDLE", "120s", "longest silence of an upstream within an answer", time.Second, func(c *Config) *time.Duration { return &c.StreamIdle }),
		span("SLUICE_HEADER_TIMEOUT", "600s", "longest wait for an upstream to begin its answer", time.Second, func(c *Config) *time.Duration { return &c.HeaderTimeout }),
		span("SLUICE_PING_EVERY", "15s", "silence after which a client gets a keep-alive; 0 = never", 0, func(c *Config) *time.Duration { return &c.PingEvery }),
		span("SLUICE_DRAIN_TIMEOUT", "15s", "how long an answer is read on, for its usage, after its client left", 0, func(c *Config) *time.Duration { return &c.DrainTimeout }),
		span("SLUICE_SHUTDOWN_TIMEOUT", "", "how long answers in flight may run on after the first signal; unset = SLUICE_STREAM_MAX", time.Second, func(c *Config) *time.Duration { return &c.ShutdownTimeout }),
		sized("SLUICE_MAX_BODY", "32MB", "largest request body, decoded", func(c *Config) *int64 { return &c.MaxBody }),
		sized("SLUICE_BODY_MEMORY", "", "memory for all request bodies at once; unset = a quarter of GOMEMLIMIT, or 512MB without one", func(c *Config) *int64 { return &c.BodyMemory }),
		{
			Setting: Setting{"SLUICE_ATTEMPTS", "3", "accounts that are tried for one call, 1 to 10"},
			read:    readAttempts,
		},
		text("SLUICE_PRICES", "", "path of a price file that overrides the built-in prices", func(c *Config) *string { return &c.Prices }, nil),
		flag("SLUICE_QUERY_KEY", "false", "accept keys as ?key=", func(c *Config) *bool { return &c.QueryKey }),
		flag("SLUICE_TRACE", "false", "send X-Ray segments to the daemon at AWS_XRAY_DAEMON_ADDRESS", func(c *Config) *bool { return &c.Trace }),
		span("SLUICE_EMF_EVERY", "0s", "how often metrics are written to standard output for CloudWatch; 0 = never", 0, func(c *Config) *time.Duration { return &c.EMFEvery }),
		flag("SLUICE_SIMULATOR", "false", "serve stand-in vendors, for trying out without an account", func(c *Config) *bool { return &c.Simulator }),
		hidden("ANTHROPIC_API_KEY", "key of Anthropic that the local process offers as an account", func(c *Config) *secret.Value { return &c.AnthropicAPIKey }, nil),
	}
}

func text(name, def, meaning string, at func(*Config) *string, check func(string) error) row {
	return row{Setting: Setting{name, def, meaning}, read: func(c *Config, value string) error {
		*at(c) = value
		if check == nil {
			return nil
		}
		return check(value)
	}}
}

func hidden(name, meaning string, at func(*Config) *secret.Value, check func(string) error) row {
	return row{Setting: Setting{name, "", meaning}, secret: true, read: func(c *Config, value string) error {
		*at(c) = secret.New(value)
		if check == nil {
			return nil
		}
		return check(value)
	}}
}

func span(name, def, meaning string, least time.Duration, at func(*Config) *time.Duration) row {
	return row{Setting: Setting{name, def, meaning}, read: func(c *Config, value string) (err error) {
		*at(c), err = duration(value, least)
		return err
	}}
}

func sized(name, def, meaning string, at func(*Config) *int64) row {
	return row{Setting: Setting{name, def, meaning}, read: func(c *Config, value string) (err error) {
		*at(c), err = size(value)
		return err
	}}
}

func flag(name, def, meaning string, at func(*Config) *bool) row {
	return row{Setting: Setting{name, def, meaning}, read: func(c *Config, value string) (err error) {
		*at(c), err = boolean(value)
		return err
	}}
}

func readMetricsListen(c *Config, value string) error {
	if value == "off" {
		return nil
	}
	c.MetricsListen = value
	return address(value)
}

func readLogLevel(c *Config, value string) error {
	if err := c.LogLevel.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("not a level (want debug, info, warn or error)")
	}
	return nil
}

func readAttempts(c *Config, value string) (err error) {
	c.Attempts, err = whole(value, 1, 10)
	return err
}

// Print writes the table for people.
func Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range Table() {
		// What a tabwriter cannot write it reports when it is flushed.
		_, _ = fmt.Fprintf(tw, "  %s\t%s\t%s\n", s.Name, s.Default, s.Meaning)
	}
	return tw.Flush()
}

// LogValue is the settings for the log; secrets are redacted.
func (c *Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("listen", c.Listen), slog.String("metrics_listen", c.MetricsListen),
		slog.Bool("embedded", c.RedisURL.Empty()), slog.String("data_dir", c.DataDir),
		slog.Duration("stream_max", c.StreamMax), slog.Duration("stream_idle", c.StreamIdle),
		slog.Int64("max_body", c.MaxBody), slog.Int64("body_memory", c.BodyMemory), slog.Int("attempts", c.Attempts),
	)
}
