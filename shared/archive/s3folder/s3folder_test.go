package s3folder_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice/shared/archive/s3folder"
)

// bucket speaks S3's REST: PUT of an object, signed and with its checksum.
type bucket struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string]string
	types   map[string]string
	puts    int
	answer  func(put int) int // the status of a put, from 1; 0 = hang, -1 = cut off when it is done
}

func newBucket(t testing.TB) (*bucket, *s3folder.Folder) {
	t.Helper()
	b := &bucket{t: t, objects: map[string]string{}, types: map[string]string{}, answer: func(int) int { return http.StatusOK }}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(server.URL), UsePathStyle: true, HTTPClient: awshttp.NewBuildableClient(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test-id", SecretAccessKey: "test-key"}, nil
		}),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, time.Millisecond }),
	})
	return b, s3folder.New(s3folder.Options{API: client, Bucket: "test-bucket", Prefix: "/some/where/", Patience: 2 * time.Second})
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	key, ours := strings.CutPrefix(r.URL.Path, "/test-bucket/")
	if !ours || r.Method != http.MethodPut || !strings.Contains(r.Header.Get("Authorization"), "/s3/aws4_request") || r.Header.Get("Content-Encoding") != "" {
		b.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(sum[:]) {
		b.t.Errorf("PUT %s without the checksum of its body", key)
	}
	b.mu.Lock()
	b.puts++
	status := b.answer(b.puts)
	if status == http.StatusOK || status == -1 {
		b.objects[key], b.types[key] = string(body), r.Header.Get("Content-Type")
	}
	b.mu.Unlock()
	switch status {
	case -1:
		panic(http.ErrAbortHandler)
	case 0:
		<-r.Context().Done()
	case http.StatusOK:
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, "<Error><Code>Refused</Code><Message>by the stand-in</Message></Error>")
	}
}

func (b *bucket) holds(key, body, contentType string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.objects[key] != body || b.types[key] != contentType {
		b.t.Errorf("%s holds %q of type %s, want %q", key, b.objects[key], b.types[key], body)
	}
}

func TestPut(t *testing.T) {
	b, f := newBucket(t)
	for name, body := range map[string]string{"usage/day=2026-11-26/p=07/1-0.jsonl.gz": "first", "plain": ""} {
		for range 2 { // again, as after a cursor that did not move
			if err := f.Put(t.Context(), name, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.holds("some/where/usage/day=2026-11-26/p=07/1-0.jsonl.gz", "first", "application/gzip")
	b.holds("some/where/plain", "", "application/octet-stream")
	if err := f.Put(t.Context(), "plain", []byte("else")); err != nil {
		t.Fatal(err)
	}
	b.holds("some/where/plain", "else", "application/octet-stream")
	if len(b.objects) != 2 {
		t.Errorf("objects %v", b.objects)
	}
}

func TestPutRepeats(t *testing.T) {
	for name, first := range map[string]int{"unavailable": http.StatusServiceUnavailable, "answer lost": -1} {
		t.Run(name, func(t *testing.T) {
			b, f := newBucket(t)
			b.answer = func(put int) int {
				if put < 3 {
					return first
				}
				return http.StatusOK
			}
			if err := f.Put(t.Context(), "a", []byte("body")); err != nil {
				t.Fatal(err)
			}
			b.holds("some/where/a", "body", "application/octet-stream")
			if b.puts != 3 {
				t.Errorf("%d puts", b.puts)
			}
		})
	}
}

func TestPutFails(t *testing.T) {
	for want, status := range map[string]int{"the role needs s3:PutObject": http.StatusForbidden, "cannot be stored": http.StatusNotFound, "deadline exceeded": 0} {
		b, f := newBucket(t)
		b.answer = func(int) int { return status }
		err := f.Put(t.Context(), "a", []byte("body"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "s3://test-bucket/some/where/a") {
			t.Errorf("status %d: %v, want %q", status, err, want)
		}
	}
}
