package cloudtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What a fault makes of a request to S3; any other text is an error code of S3.
const (
	Pass      = ""
	CutBefore = "cut before" // the connection ends, and nothing was done
	CutAfter  = "cut after"  // the connection ends after it was done
	Hang      = "hang"       // no answer until the client gives up
)

// List is the method of a listing, to faults and counts.
const List = "LIST"

// Fault says what becomes of a request; n counts those of its method from 1.
type Fault func(method, key string, n int) string

// S3 is one bucket, with REST and XML as S3 speaks them: GET, conditional PUT and
// ListObjectsV2.
type S3 struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string]Object
	limit   int            // names that a listing has at most; 0 = as asked
	counts  map[string]int // requests by method
	fault   Fault
}

// Object is what lies in the bucket.
type Object struct {
	Body     []byte
	ID       string // metadata sluice-id
	Checksum string // SHA-256 in base64; "" = none
	Type     string // of its content
}

func newS3(t testing.TB) *S3 {
	t.Helper()
	return &S3{t: t, objects: make(map[string]Object), counts: make(map[string]int)}
}

// On sets what becomes of the requests that follow, and counts them anew; nil is
// that all pass.
func (s *S3) On(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.counts = fault, make(map[string]int)
}

// Limit is how many names a listing has at most, as S3 may give fewer than asked
// for.
func (s *S3) Limit(names int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = names
}

// Count is how many requests of a method came since On.
func (s *S3) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// Set puts an object there that has nothing but a body, whatever was there before;
// nil removes it.
func (s *S3) Set(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	if body != nil {
		s.objects[key] = Object{Body: body}
	}
}

// Change changes an object behind the back of its checksum.
func (s *S3) Change(key string, change func(body []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	o.Body = change(o.Body)
	s.objects[key] = o
}

// Get is the object of a name, the zero Object when there is none.
func (s *S3) Get(key string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// Keys are the names of all objects, sorted.
func (s *S3) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// answer serves a request as its fault says.
func (s *S3) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket != Bucket {
		refuse(w, "NoSuchBucket")
		return
	}
	method := r.Method
	if key == "" {
		method = List
	}
	s.mu.Lock()
	s.counts[method]++
	n, fault := s.counts[method], s.fault
	s.mu.Unlock()
	verdict := Pass
	if fault != nil {
		verdict = fault(method, key, n)
	}
	switch verdict {
	case Pass:
		s.serve(w, r, method, key, body)
	case CutAfter:
		s.serve(httptest.NewRecorder(), r, method, key, body)
		panic(http.ErrAbortHandler)
	case CutBefore:
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
	default:
		refuse(w, verdict)
	}
}

// refuse answers with an error code of S3
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
func refuse(w http.ResponseWriter, code string) {
	status := map[string]int{
		"AccessDenied": http.StatusForbidden, "ConditionalRequestConflict": http.StatusConflict,
		"NoSuchBucket": http.StatusNotFound, "ServiceUnavailable": http.StatusServiceUnavailable,
		"NoSuchKey": http.StatusNotFound, "PreconditionFailed": http.StatusPreconditionFailed,
	}[code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>refused by the stand-in</Message></Error>", code)
}

func (s *S3) serve(w http.ResponseWriter, r *http.Request, method, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, there := s.objects[key]
	switch {
	case method == List:
		s.list(w, r)
	case method == http.MethodPut:
		s.put(w, r, key, body)
	case !there:
		refuse(w, "NoSuchKey")
	default:
		if found.Checksum != "" && r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set("X-Amz-Checksum-Sha256", found.Checksum)
		}
		w.Header().Set("X-Amz-Meta-Sluice-Id", found.ID)
		_, _ = w.Write(found.Body) // the client may have seen enough
	}
}

func (s *S3) put(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	if r.Header.Get("If-None-Match") != "*" {
		s.t.Errorf("cloudtest: PUT %s without its condition", key)
	}
	sum := sha256.Sum256(body)
	o := Object{
		Body: body, ID: r.Header.Get("X-Amz-Meta-Sluice-Id"), Type: r.Header.Get("Content-Type"),
		Checksum: base64.StdEncoding.EncodeToString(sum[:]),
	}
	if r.Header.Get("X-Amz-Checksum-Sha256") != o.Checksum {
		refuse(w, "BadDigest")
		return
	}
	if _, there := s.objects[key]; there {
		refuse(w, "PreconditionFailed")
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

func (s *S3) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	most, err := strconv.Atoi(query.Get("max-keys"))
	if err != nil || query.Get("list-type") != "2" {
		s.t.Errorf("cloudtest: no ListObjectsV2 with a limit: %s", r.URL)
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
		s.t.Errorf("cloudtest: list: %v", err)
	}
}
