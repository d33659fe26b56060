package s3log_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const bucketName = "test-bucket"

// What a fault makes of a request; any other text is an error code of S3.
const (
	pass      = ""
	cutBefore = "cut before" // the connection ends, and nothing was done
	cutAfter  = "cut after"  // the connection ends after it was done
	hang      = "hang"       // no answer until the client gives up
)

var statuses = map[string]int{
	"AccessDenied": http.StatusForbidden, "ConditionalRequestConflict": http.StatusConflict,
	"NoSuchBucket": http.StatusNotFound, "ServiceUnavailable": http.StatusServiceUnavailable,
	"NoSuchKey": http.StatusNotFound, "PreconditionFailed": http.StatusPreconditionFailed, "BadDigest": http.StatusBadRequest,
}

// standIn speaks S3's REST/XML: GET, conditional PUT and ListObjectsV2 of a bucket.
type standIn struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string]object
	limit   int            // names that a listing has at most, as S3 may give fewer than asked for; 0 = as asked
	counts  map[string]int // requests by method; LIST is one
	fault   func(method, key string, n int) string
}

type object struct {
	body         []byte
	id, sum, typ string
}

func empty(t testing.TB) *standIn {
	return &standIn{t: t, objects: make(map[string]object), counts: make(map[string]int)}
}

// newStandIn is an empty bucket.
func newStandIn(t testing.TB) (*standIn, string) {
	t.Helper()
	s := empty(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// client is a client that tries a request so often, without long waits.
func client(url string, tries int) *s3.Client {
	return s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(url), UsePathStyle: true, HTTPClient: awshttp.NewBuildableClient(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test-id", SecretAccessKey: "test-key"}, nil
		}),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = tries, time.Millisecond }),
	})
}

// on sets what becomes of requests: n counts those of a method from 1.
func (s *standIn) on(fault func(method, key string, n int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.counts = fault, make(map[string]int)
}

func (s *standIn) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// set puts an object there, or removes it when body is nil.
func (s *standIn) set(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	if body != nil {
		s.objects[key] = object{body: body}
	}
}

func (s *standIn) get(key string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

func (s *standIn) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.URL.Path, "/"+bucketName)
	if !ok || !strings.Contains(r.Header.Get("Authorization"), "/s3/aws4_request") {
		s.t.Errorf("not signed, or to another bucket: %s %s", r.Method, r.URL)
	}
	key = strings.TrimPrefix(key, "/")
	method := r.Method
	if key == "" {
		method = "LIST"
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	s.mu.Lock()
	s.counts[method]++
	n, fault := s.counts[method], s.fault
	s.mu.Unlock()
	verdict := pass
	if fault != nil {
		verdict = fault(method, key, n)
	}
	switch verdict {
	case pass:
		s.serve(w, r, method, key, body)
	case cutAfter:
		s.serve(httptest.NewRecorder(), r, method, key, body)
		panic(http.ErrAbortHandler)
	case cutBefore:
		panic(http.ErrAbortHandler)
	case hang:
		<-r.Context().Done()
	default:
		fail(w, verdict)
	}
}

func fail(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(statuses[code])
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused by the stand-in</Message></Error>", code)
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request, method, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, there := s.objects[key]
	switch {
	case method == "LIST":
		s.list(w, r)
	case method == http.MethodPut:
		s.put(w, r, key, body)
	case !there:
		fail(w, "NoSuchKey")
	default:
		if found.sum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set("X-Amz-Checksum-Sha256", found.sum)
		}
		w.Header().Set("X-Amz-Meta-Sluice-Id", found.id)
		_, _ = w.Write(found.body) // the client may have seen enough
	}
}

func (s *standIn) put(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	if r.Header.Get("If-None-Match") != "*" {
		s.t.Errorf("PUT %s without its condition", key)
	}
	sum := sha256.Sum256(body)
	o := object{
		body: body, id: r.Header.Get("X-Amz-Meta-Sluice-Id"), typ: r.Header.Get("Content-Type"),
		sum: base64.StdEncoding.EncodeToString(sum[:]),
	}
	if r.Header.Get("X-Amz-Checksum-Sha256") != o.sum {
		fail(w, "BadDigest")
		return
	}
	if _, there := s.objects[key]; there {
		fail(w, "PreconditionFailed")
		return
	}
	s.objects[key] = o
}

type listing struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	IsTruncated bool
	KeyCount    int
	Contents    []struct{ Key string }
}

func (s *standIn) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	most, err := strconv.Atoi(query.Get("max-keys"))
	if err != nil || query.Get("list-type") != "2" {
		s.t.Errorf("no ListObjectsV2 with a limit: %s", r.URL)
	}
	if s.limit > 0 {
		most = min(most, s.limit)
	}
	var out listing
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, query.Get("prefix")) || key <= query.Get("start-after") {
			continue
		}
		if out.KeyCount == most {
			out.IsTruncated = true
			break
		}
		out.KeyCount++
		out.Contents = append(out.Contents, struct{ Key string }{key})
	}
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(out); err != nil {
		s.t.Errorf("list: %v", err)
	}
}
