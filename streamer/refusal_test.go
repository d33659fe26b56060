package main

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/cloud/cloudtest"
)

// nowhere is an address at which nobody listens.
func nowhere() string {
	server := httptest.NewServer(nil)
	server.Close()
	return server.Listener.Addr().String()
}

// TestRefusesToStart has one thing wrong at a time: the process ends with one line
// that begins with the setting.
func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	d := deploy(t, true)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, tt := range map[string]struct {
		changes []string
		wrong   func(c *cloudtest.Cloud) // nil = nothing at AWS
		want    string                   // how the error begins
	}{
		"an unknown setting": {[]string{"SLUICE_STREAMIDLE=5s"}, nil, "SLUICE_STREAMIDLE: no such setting (did you mean SLUICE_STREAM_IDLE?)"},
		"two settings":       {[]string{"SLUICE_ATTEMPTS=0", "SLUICE_TRACE=maybe"}, nil, "SLUICE_ATTEMPTS=0: not a number from 1 to 10\nSLUICE_TRACE=maybe: "},
		"no store":           {[]string{"SLUICE_REDIS_URL=", "SLUICE_REDIS_IAM="}, nil, "SLUICE_REDIS_URL: a deployment needs a store"},
		"a store that is not there": {
			[]string{"SLUICE_REDIS_URL=rediss://sluice@" + nowhere()}, nil, "SLUICE_REDIS_URL: store_down: the ledger does not answer; try again: open 127.0.0.1:",
		},
		"a store that nobody vouches for": {[]string{"SSL_CERT_FILE=/dev/null"}, nil, "SLUICE_REDIS_URL: store_down: the ledger does not answer; try again: open 127.0.0.1:"},
		"a store without IAM":             {[]string{"SLUICE_REDIS_IAM="}, nil, "SLUICE_REDIS_URL: store_down: the ledger does not answer; try again: open 127.0.0.1:"},
		"no region":                       {[]string{"AWS_REGION="}, nil, "AWS_REGION: unset"},
		"no key":                          {[]string{"SLUICE_KMS_KEY=", "SLUICE_CONFIG_BUCKET="}, nil, "SLUICE_KMS_KEY: a deployment needs a master key"},
		"a key that may not seal": {
			nil, func(c *cloudtest.Cloud) { c.KMS.Refuse("AccessDeniedException", "Encrypt") },
			"SLUICE_KMS_KEY: KMS key " + cloudtest.Key + ": the role may not use it: allow kms:Encrypt ",
		},
		"a key that may not open": {
			nil, func(c *cloudtest.Cloud) { c.KMS.Refuse("AccessDeniedException", "Decrypt") },
			"SLUICE_KMS_KEY: KMS key " + cloudtest.Key + ": the role may not use it: allow kms:Decrypt ",
		},
		"no bucket":      {[]string{"SLUICE_CONFIG_BUCKET="}, nil, "SLUICE_CONFIG_BUCKET: a deployment needs a config log"},
		"another bucket": {[]string{"SLUICE_CONFIG_BUCKET=none"}, nil, "SLUICE_CONFIG_BUCKET=none: config log: "},
		"a bucket that is closed": {
			nil, func(c *cloudtest.Cloud) { c.S3.On(func(string, string, int) string { return "AccessDenied" }) },
			"SLUICE_CONFIG_BUCKET=test-bucket: config log: ",
		},
		"a bucket that is not reached": {[]string{"AWS_ENDPOINT_URL_S3=http://" + nowhere()}, nil, "SLUICE_CONFIG_BUCKET=test-bucket: config log: "},
		"no late queue":                {[]string{"SLUICE_LATE_QUEUE="}, nil, "SLUICE_LATE_QUEUE: a deployment needs a queue"},
		"late queue is FIFO":           {[]string{"SLUICE_LATE_QUEUE=" + cloudtest.Queue + ".fifo"}, nil, "SLUICE_LATE_QUEUE: late queue: QueueURL is"},
		"no admin token":               {[]string{"SLUICE_ADMIN_SECRET="}, nil, "SLUICE_ADMIN_SECRET: a deployment needs an admin token"},
		"no such secret":               {[]string{"SLUICE_ADMIN_SECRET=" + adminSecret + "2"}, nil, "SLUICE_ADMIN_SECRET=" + adminSecret + "2: there is no such secret"},
		"a short secret": {
			nil, func(c *cloudtest.Cloud) { c.Secrets.Set(adminSecret, adminToken[:10]) },
			"SLUICE_ADMIN_SECRET=" + adminSecret + ": the secret is too short (want 16 characters or more)",
		},
		"no price file":             {[]string{"SLUICE_PRICES=/nonexistent/prices.json"}, nil, "SLUICE_PRICES: open /nonexistent/prices.json: "},
		"an address that is taken":  {[]string{"SLUICE_LISTEN=" + taken.Addr().String()}, nil, "SLUICE_LISTEN=" + taken.Addr().String() + ": listen tcp "},
		"metrics where it is taken": {[]string{"SLUICE_METRICS_LISTEN=" + taken.Addr().String()}, nil, "SLUICE_METRICS_LISTEN: choose another address, or off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := &deployment{t: t, cloud: cloudtest.Start(t), store: d.store, xray: d.xray}
			own.cloud.Secrets.Set(adminSecret, adminToken)
			if tt.wrong != nil {
				tt.wrong(own.cloud)
			}
			p := launch(t, own.task(append([]string{"AWS_MAX_ATTEMPTS=1"}, tt.changes...)...))
			if code := p.exit(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			var said []string
			for _, line := range p.log.lines(t) {
				if text, ok := line["error"].(string); ok && line["level"] == "ERROR" {
					said = append(said, text)
				}
			}
			if len(said) != 1 || !strings.HasPrefix(said[0], tt.want) {
				t.Errorf("it says %q, want one line that begins with %q", said, tt.want)
			}
			silent(p, adminToken[:10])
		})
	}
}
