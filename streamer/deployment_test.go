package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sluice/shared/cloud/cloudtest"
	"sluice/shared/simulator"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

const (
	// adminToken is the admin token of every deployment, the text of adminSecret.
	adminToken  = "test-admin-token-0001"
	adminSecret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:admin"
	// vendorKey is the credential of the account at the vendor.
	vendorKey = "test-vendor-key-0001"
)

// deployment is what stands around a streamer on AWS: a store with TLS whose user
// may do what the deployment allows, KMS, S3, Secrets Manager, an X-Ray daemon,
// and a vendor.
type deployment struct {
	t       *testing.T
	cloud   *cloudtest.Cloud
	store   *storetest.Server
	xray    *daemon
	vendor  *simulator.Simulator
	baseURL string // of the vendor
}

// deploy starts one, with a store that is a cluster or not.
func deploy(t *testing.T, cluster bool) *deployment {
	t.Helper()
	d := &deployment{t: t, cloud: cloudtest.Start(t), store: storetest.TLS(t, cluster), xray: newDaemon(t), vendor: simulator.New(simulator.Options{})}
	d.cloud.Secrets.Set(adminSecret, adminToken)
	srv := httptest.NewServer(d.vendor)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	d.baseURL = srv.URL
	return d
}

// relay are the settings of the relay on both hosts, as infra/app.go makes them,
// and changes to them; the last of a name counts.
func (d *deployment) relay(changes ...string) []string {
	return append(append(d.cloud.Env(),
		"SSL_CERT_FILE="+d.store.CA,
		"SLUICE_REDIS_URL=rediss://"+storetest.User+"@"+d.store.Addr, "SLUICE_REDIS_IAM=serverless/sluice",
		"SLUICE_KMS_KEY="+cloudtest.Key, "SLUICE_CONFIG_BUCKET="+cloudtest.Bucket, "SLUICE_ADMIN_SECRET="+adminSecret, "SLUICE_LATE_QUEUE="+cloudtest.Queue,
		"SLUICE_STREAM_MAX=5m0s", "SLUICE_EMF_EVERY=50ms", "SLUICE_TRACE=true", "SLUICE_METRICS_LISTEN=off",
		"AWS_XRAY_DAEMON_ADDRESS="+d.xray.conn.LocalAddr().String(),
	), changes...)
}

// task are the settings of a Fargate task, as infra/fargate.go makes them, and
// changes to them.
func (d *deployment) task(changes ...string) []string {
	return d.relay(append([]string{"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_SHUTDOWN_TIMEOUT=1m50s", "GOMEMLIMIT=800MiB"}, changes...)...)
}

// account makes an account at the vendor.
func (d *deployment) account(p *process) {
	d.t.Helper()
	p.text(http.MethodPost, "/admin/v1/accounts", adminToken, fmt.Sprintf(
		`{"name": "test", "provider": "compatible", "base_url": %q, "private_network": true, "credential": {"type": "api_key", "secret": %q}}`, d.baseURL, vendorKey))
}

// key is a key as the admin API shows it when it is made.
type key struct {
	ID     string `json:"id"`
	Secret string `json:"key"`
}

func newKey(p *process) key {
	p.t.Helper()
	return ask[key](p, http.MethodPost, "/admin/v1/keys", adminToken, `{"name": "test", "limits": {"budgets": [{"per": "total", "usd": "5"}]}}`)
}

// silent looks for secrets in what the process wrote.
func silent(p *process, secrets ...string) {
	p.t.Helper()
	for _, s := range append(secrets, adminToken, vendorKey, cloudtest.SecretKey, "X-Amz-Signature") {
		if strings.Contains(p.log.String()+p.out.String(), s) {
			p.t.Errorf("a secret was written: %s", s)
		}
	}
}

// rows are those of the key in the ledger, the latest first, once there are so many.
func rows(p *process, k key, want int) (found []usage.Record) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%d rows", want), func() bool {
		found = ask[struct{ Data []usage.Record }](p, http.MethodGet, "/admin/v1/usage/records?key="+k.ID, adminToken, "").Data
		return len(found) >= want
	})
	if len(found) > want {
		p.t.Fatalf("%d rows, want %d", len(found), want)
	}
	return found
}

// prompt is a call with one message.
func prompt(stream bool, text string) string {
	return fmt.Sprintf(`{"model": "claude-haiku-4-5", "max_tokens": 500, "stream": %t, "messages": [{"role": "user", "content": %q}]}`, stream, text)
}

// segment is what a daemon reads of a segment or subsegment.
type segment struct {
	TraceID     string         `json:"trace_id"`
	ParentID    string         `json:"parent_id"`
	Name        string         `json:"name"`
	Annotations map[string]any `json:"annotations"`
	Subsegments []segment      `json:"subsegments"`
}

// stages are the names of all that is within the segment.
func (s *segment) stages() (names []string) {
	for i := range s.Subsegments {
		names = append(append(names, s.Subsegments[i].Name), s.Subsegments[i].stages()...)
	}
	return names
}

// daemon is a UDP listener in place of the X-Ray daemon.
type daemon struct {
	conn *net.UDPConn

	mu  sync.Mutex
	got []segment
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{conn: conn}
	var reading sync.WaitGroup
	reading.Go(func() { d.read(t) })
	t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return d
}

func (d *daemon) read(t *testing.T) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := d.conn.Read(buffer)
		if err != nil {
			return // closed
		}
		// https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html
		head, document, _ := bytes.Cut(buffer[:n], []byte("\n"))
		var s segment
		if err := json.Unmarshal(document, &s); err != nil || !strings.Contains(string(head), `"version"`) {
			t.Errorf("a datagram that is no segment: %v: %.200q", err, buffer[:n])
		}
		d.mu.Lock()
		d.got = append(d.got, s)
		d.mu.Unlock()
	}
}

func (d *daemon) segments() []segment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]segment(nil), d.got...)
}
