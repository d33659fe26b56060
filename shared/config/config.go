// Package config is the one table of settings: their names, defaults and meaning.
//
// Settings are environment variables that begin with SLUICE_, and the few that
// vendors' own tools read. A main reads them once; nothing below it looks at the
// environment. A name that is not in the table, or a value that cannot be read,
// stops the start with a line that names the variable. An empty value counts as
// unset.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sluice/shared/secret"
)

// Config is every setting, as read.
type Config struct {
	Listen          string        // address of relay and admin API
	MetricsListen   string        // address of metrics and profiles; "" = off
	RedisURL        secret.Value  // of the store; empty = embedded
	RedisIAM        string        // kind/name of the store to sign in to with IAM; "" = as RedisURL says
	DataDir         string        // of the embedded store, the late queue and the archive
	KMSKey          string        // ARN of the master key; "" = a file in DataDir
	ConfigBucket    string        // of the config log; "" = a file in DataDir
	LateQueue       string        // URL of the queue of late settlements; "" = files in DataDir
	ArchiveBucket   string        // of the usage archive; "" = files in DataDir
	AdminToken      secret.Value  // of the admin API; empty = generated
	AdminSecret     string        // ARN of the secret with AdminToken; "" = none
	LogLevel        slog.Level    // least severe level that is logged
	StreamMax       time.Duration // longest answer
	StreamIdle      time.Duration // longest silence of an upstream within an answer
	HeaderTimeout   time.Duration // longest wait for an answer to begin
	PingEvery       time.Duration // silence after which a client gets a keep-alive; 0 = none
	DrainTimeout    time.Duration // an answer is read on after its client left; 0 = not at all
	ShutdownTimeout time.Duration // answers in flight may take after the first signal
	MaxBody         int64         // bytes of one request body, decoded
	BodyMemory      int64         // bytes of all request bodies at once
	Attempts        int           // accounts that are tried for a call
	Prices          string        // path of a price file; "" = the built-in prices
	QueryKey        bool          // keys are accepted as ?key=
	Trace           bool          // segments are sent to the X-Ray daemon
	EMFEvery        time.Duration // metrics are written for CloudWatch; 0 = never
	Simulator       bool          // stand-in vendors are served locally
	AnthropicAPIKey secret.Value  // offered as an account locally; empty = none
}

// Setting is one row of the table.
type Setting struct {
	Name    string // of the environment variable
	Default string // as one would write it; "" = unset
	Meaning string // one sentence
}

const prefix = "SLUICE_"

// Table is every setting, in the order in which it is documented.
func Table() []Setting {
	rows := table()
	settings := make([]Setting, len(rows))
	for i, r := range rows {
		settings[i] = r.Setting
	}
	return settings
}

// Read reads the settings of an environment as os.Environ gives it. Its error
// joins every problem, one line each; no line holds the value of a secret.
func Read(environ []string) (*Config, error) {
	env := parse(environ)
	c := new(Config)
	var problems []error
	for _, r := range table() {
		value, set := env[r.Name]
		if !set {
			value = r.Default
		}
		delete(env, r.Name)
		if value == "" {
			continue
		}
		if err := r.read(c, value); err != nil {
			problems = append(problems, r.problem(value, err))
		}
	}
	problems = append(problems, unknown(environ, env)...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if err := c.derive(env[goMemLimit]); err != nil {
		return nil, err
	}
	return c, nil
}

// parse is the environment as a map, without empty values. Of a name that occurs
// twice the first counts, as for os.Getenv.
func parse(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	seen := make(map[string]bool, len(environ))
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !seen[name] && value != "" {
			env[name] = value
		}
		seen[name] = true
	}
	return env
}

// unknown is a problem for each variable with our prefix that no row took.
func unknown(environ []string, left map[string]string) []error {
	var problems []error
	for _, line := range environ { // in their order, so that messages are stable
		name, _, _ := strings.Cut(line, "=")
		if _, is := left[name]; is && strings.HasPrefix(name, prefix) {
			problems = append(problems, fmt.Errorf("%s: no such setting (did you mean %s?)", name, Closest(name, names())))
			delete(left, name)
		}
	}
	return problems
}

const goMemLimit = "GOMEMLIMIT"

// defaultBodyMemory is for processes without a memory limit.
const defaultBodyMemory = 512 << 20

// derive fills in what depends on other settings, and holds them against each
// other.
func (c *Config) derive(memoryLimit string) error {
	if err := c.aws(); err != nil {
		return err
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = c.StreamMax
	}
	if c.BodyMemory == 0 {
		c.BodyMemory = defaultBodyMemory
		if limit, err := size(strings.TrimSuffix(memoryLimit, "B") + "B"); err == nil && memoryLimit != "" {
			c.BodyMemory = max(limit/4, c.MaxBody)
		}
	}
	if c.BodyMemory < c.MaxBody {
		return fmt.Errorf("SLUICE_BODY_MEMORY=%d: smaller than SLUICE_MAX_BODY=%d: no body would fit", c.BodyMemory, c.MaxBody)
	}
	return nil
}

// aws holds the settings for AWS against each other.
func (c *Config) aws() error {
	switch {
	case c.RedisIAM != "" && !strings.HasPrefix(c.RedisURL.Reveal(), "rediss://"):
		return errors.New("SLUICE_REDIS_IAM: needs SLUICE_REDIS_URL=rediss://USER@HOST:6379: IAM signs in over TLS only")
	case c.ConfigBucket != "" && c.KMSKey == "":
		return errors.New("SLUICE_CONFIG_BUCKET: needs SLUICE_KMS_KEY: a log that outlives this machine must not be sealed with a key that does not")
	case c.AdminSecret != "" && !c.AdminToken.Empty():
		return errors.New("SLUICE_ADMIN_SECRET: not together with SLUICE_ADMIN_TOKEN")
	}
	return nil
}

// Local refuses settings that need AWS, for a process that is built without it.
func (c *Config) Local() error {
	for name, value := range map[string]string{
		"SLUICE_REDIS_IAM": c.RedisIAM, "SLUICE_KMS_KEY": c.KMSKey,
		"SLUICE_CONFIG_BUCKET": c.ConfigBucket, "SLUICE_ADMIN_SECRET": c.AdminSecret, "SLUICE_LATE_QUEUE": c.LateQueue, "SLUICE_ARCHIVE_BUCKET": c.ArchiveBucket,
	} {
		if value != "" {
			return fmt.Errorf("%s: this process is built without AWS; the streamer of a deployment reads it", name)
		}
	}
	if c.Trace {
		return errors.New("SLUICE_TRACE: this process is built without X-Ray; the streamer of a deployment reads it")
	}
	return nil
}

func names() []string {
	var all []string
	for _, s := range Table() {
		all = append(all, s.Name)
	}
	return all
}
