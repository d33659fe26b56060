// Package cloudtest is a stand-in for the parts of AWS that a deployment asks for
// what it needs before it serves, KMS, S3 and Secrets Manager, and of its late
// queue in SQS, on one loopback server. Requests come from the real SDK, over HTTP,
// and must be signed for the service and region that they are meant for; what a
// service would not take is a failure of the test.
//
// A client reaches it by BaseEndpoint, a process by the environment that Env gives
// it: the SDK looks for the endpoint of every service in AWS_ENDPOINT_URL
// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html).
package cloudtest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What there is in the stand-in, besides what a test puts there.
const (
	Region      = "eu-central-1"
	Bucket      = "test-bucket"
	Key         = "arn:aws:kms:eu-central-1:111122223333:key/1"
	OtherKey    = "arn:aws:kms:eu-central-1:111122223333:key/2"
	AccessKeyID = "test-id"  // any other is taken, too: signatures are not computed
	SecretKey   = "test-key" // of AccessKeyID
)

// Cloud is the services. It is an http.Handler, for a server of a kind of its own.
type Cloud struct {
	URL     string // of the server that Start started; "" = none
	KMS     *KMS
	S3      *S3
	Secrets *Secrets
	SQS     *SQS

	t testing.TB
}

// New is the services with two keys, one empty bucket and no secret, served by
// nobody yet.
func New(t testing.TB) *Cloud {
	t.Helper()
	return &Cloud{t: t, KMS: newKMS(t, Key, OtherKey), S3: newS3(t), Secrets: newSecrets(t), SQS: newSQS(t)}
}

// Start is New on a loopback port until the test ends.
func Start(t testing.TB) *Cloud {
	t.Helper()
	c := New(t)
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Env is the environment of a process that shall find the stand-in, and nothing
// of the machine it runs on: no profile, no role of an instance, and no authority
// of the machine's own, beside which the SDK takes no HTTP client.
func (c *Cloud) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + c.URL, "AWS_REGION=" + Region, "AWS_ACCESS_KEY_ID=" + AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + SecretKey,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_CA_BUNDLE=",
	}
}

// Use sets Env in the process of the test itself, until it ends.
func (c *Cloud) Use() {
	c.t.Helper()
	for _, line := range c.Env() {
		name, value, _ := strings.Cut(line, "=")
		c.t.Setenv(name, value)
	}
}

// ServeHTTP answers as the service that the request is made for.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	service, action, typed := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case !typed:
		c.signed(r, "s3")
		c.S3.answer(w, r, body)
	case service == "TrentService":
		c.signed(r, "kms")
		c.json(w, r, body, "1.1", func(in []byte) (any, string, error) { return c.KMS.answer(action, in) })
	case service == "secretsmanager":
		c.signed(r, "secretsmanager")
		c.json(w, r, body, "1.1", func(in []byte) (any, string, error) { return c.Secrets.answer(action, in) })
	case service == "AmazonSQS":
		c.signed(r, "sqs")
		c.json(w, r, body, "1.0", func(in []byte) (any, string, error) { return c.SQS.answer(action, in) })
	default:
		c.t.Errorf("cloudtest: a request for a service that is not here: %s", r.Header.Get("X-Amz-Target"))
		http.Error(w, "no such service", http.StatusNotFound)
	}
}

// signed looks at what a request is signed for: the region and service in the
// scope of its signature.
func (c *Cloud) signed(r *http.Request, service string) {
	if !strings.Contains(r.Header.Get("Authorization"), "/"+Region+"/"+service+"/aws4_request") {
		c.t.Errorf("cloudtest: %s %s is not signed for %s in %s: %q", r.Method, r.URL, service, Region, r.Header.Get("Authorization"))
	}
}

// json answers in a version of AWS JSON with what a service says, or its exception.
func (c *Cloud) json(w http.ResponseWriter, r *http.Request, body []byte, version string, ask func(in []byte) (out any, exception string, err error)) {
	typ := "application/x-amz-json-" + version
	out, exception, err := ask(body)
	if r.Header.Get("Content-Type") != typ {
		err = errors.Join(err, errors.New("its type is "+r.Header.Get("Content-Type")))
	}
	if err != nil {
		c.t.Errorf("cloudtest: %s: %v", r.Header.Get("X-Amz-Target"), err)
	}
	w.Header().Set("Content-Type", typ)
	if exception != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]string{"__type": exception, "message": "refused by the stand-in"}
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		c.t.Errorf("cloudtest: answer: %v", err)
	}
}
