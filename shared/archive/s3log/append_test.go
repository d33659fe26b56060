package s3log_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/archive/archivetest"
	"sluice/shared/archive/s3log"
	"sluice/shared/cloud/cloudtest"
	"sluice/shared/fault"
)

const nothingChanged = "the config log cannot be written; nothing was changed"

func open(t testing.TB, url string, tries int) *s3log.Log {
	t.Helper()
	l, err := s3log.Open(t.Context(), s3log.Options{API: client(url, tries), Bucket: cloudtest.Bucket, Patience: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func key(n int) string { return fmt.Sprintf("config/%012d.json", n) }

func TestConformance(t *testing.T) {
	archivetest.Run(t, func(t *testing.T) archivetest.Opener {
		_, url := bucket(t)
		return func() (archivetest.Log, error) {
			return s3log.Open(t.Context(), s3log.Options{API: client(url, 3), Bucket: cloudtest.Bucket, Prefix: "/team/"})
		}
	})
}

func TestObjects(t *testing.T) {
	s, url := bucket(t)
	for prefix, folder := range map[string]string{"": "config/", "team": "team/config/", "a/b/": "a/b/config/"} {
		l, err := s3log.Open(t.Context(), s3log.Options{API: client(url, 1), Bucket: cloudtest.Bucket, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		archivetest.Add(t, l, archivetest.Entry(1), archivetest.Entry(2))
		for n, want := range archivetest.Numbered(archivetest.Entry(1), archivetest.Entry(2)) {
			o := s.Get(fmt.Sprintf("%s%012d.json", folder, n+1))
			var got archive.Entry
			if err := json.Unmarshal(o.Body, &got); err != nil || o.Type != "application/json" {
				t.Errorf("%s: %q of type %q: %v", folder, o.Body, o.Type, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", folder, diff)
			}
		}
	}
}

// Over TLS the SDK could send the checksum after the body, in an encoding of its own.
func TestOverTLS(t *testing.T) {
	cloud := cloudtest.New(t)
	server := httptest.NewTLSServer(cloud)
	t.Cleanup(server.Close)
	api := client(server.URL, 1)
	l, err := s3log.Open(t.Context(), s3log.Options{API: s3.New(api.Options(), func(o *s3.Options) { o.HTTPClient = server.Client() }), Bucket: cloudtest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	archivetest.Add(t, l, archivetest.Entry(1))
	if diff := cmp.Diff(archivetest.Numbered(archivetest.Entry(1)), archivetest.Replayed(t, l)); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	if o := cloud.S3.Get(key(1)); o.Body[0] != '{' {
		t.Errorf("the object is %q", o.Body)
	}
}

// Several processes write at once: nothing is lost, doubled or left out.
func TestSeveralProcesses(t *testing.T) {
	const processes, each = 4, 12
	s, url := bucket(t)
	var wg sync.WaitGroup
	for p := range processes {
		l := open(t, url, 3)
		wg.Go(func() {
			for n := range each {
				if err := l.Append(t.Context(), archivetest.Entry(p*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, e := range archivetest.Replayed(t, open(t, url, 3)) {
		if seen[e.ID] {
			t.Errorf("%s was written twice", e.ID)
		}
		seen[e.ID] = true
	}
	if len(seen) != processes*each || len(s.Keys()) != processes*each {
		t.Errorf("%d entries in %d objects, want %d", len(seen), len(s.Keys()), processes*each)
	}
}

// A process that slept while another wrote finds the end at once.
func TestFarBehind(t *testing.T) {
	s, url := bucket(t)
	l := open(t, url, 1)
	for n := 1; n <= 2500; n++ {
		s.Set(key(n), []byte("{}"))
	}
	s.On(nil)
	archivetest.Add(t, l, archivetest.Entry(1))
	if s.Get(key(2501)).Body == nil || s.Count("PUT") != 2 || s.Count(cloudtest.List) > 5 {
		t.Errorf("%d puts and %d listings", s.Count("PUT"), s.Count(cloudtest.List))
	}
}

// Whatever becomes of requests, an entry that Append took is there once.
func TestOneEntryWhateverIsLost(t *testing.T) {
	first := func(method, verdict string) func(string, string, int) string {
		return func(m, _ string, n int) string {
			if m == method && n == 1 {
				return verdict
			}
			return cloudtest.Pass
		}
	}
	for name, tt := range map[string]struct {
		tries int // by the SDK
		fault func(method, key string, n int) string
	}{
		"the answer":                       {1, first("PUT", cloudtest.CutAfter)},
		"the answer, and the SDK repeats":  {3, first("PUT", cloudtest.CutAfter)},
		"the request":                      {1, first("PUT", cloudtest.CutBefore)},
		"the request, and the SDK repeats": {3, first("PUT", cloudtest.CutBefore)},
		"no answer":                        {1, first("PUT", cloudtest.Hang)},
		"a conflict":                       {1, first("PUT", "ConditionalRequestConflict")},
		"S3 is busy":                       {1, first("PUT", "ServiceUnavailable")},
		"the answer, and the look after it": {1, func(m, _ string, n int) string {
			return map[bool]string{true: cloudtest.CutAfter}[m != cloudtest.List && n == 1]
		}},
		"five answers": {1, func(m, _ string, n int) string {
			return map[bool]string{true: cloudtest.CutAfter}[m != cloudtest.List && n <= 5]
		}},
		"five requests": {1, func(m, _ string, n int) string {
			return map[bool]string{true: cloudtest.CutBefore}[m != cloudtest.List && n <= 5]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := bucket(t)
			l := open(t, url, tt.tries)
			archivetest.Add(t, l, archivetest.Entry(1))
			s.On(tt.fault)
			archivetest.Add(t, l, archivetest.Entry(2), archivetest.Entry(3))
			want := archivetest.Numbered(archivetest.Entry(1), archivetest.Entry(2), archivetest.Entry(3))
			if diff := cmp.Diff(want, archivetest.Replayed(t, l)); diff != "" {
				t.Errorf("replay (-want +got):\n%s", diff)
			}
		})
	}
}

// Two processes delete the same record at the same instant: the objects would be
// equal to the byte, and each is one entry all the same.
func TestEqualEntriesOfTwoProcesses(t *testing.T) {
	s, url := bucket(t)
	a, b := open(t, url, 1), open(t, url, 1)
	gone := archive.Entry{At: archivetest.Entry(1).At, Action: archive.Delete, Kind: archive.Key, ID: "key_1", Version: 1}
	archivetest.Add(t, a, gone)
	archivetest.Add(t, b, gone)
	if diff := cmp.Diff(archivetest.Numbered(gone, gone), archivetest.Replayed(t, a)); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	if s.Get(key(1)).ID == s.Get(key(2)).ID {
		t.Error("two puts have one id")
	}
}

// The caller leaves while the first request is lost: what has begun goes on.
func TestTheCallerLeaves(t *testing.T) {
	s, url := bucket(t)
	l := open(t, url, 1)
	ctx, leave := context.WithCancel(t.Context())
	s.On(func(method, _ string, n int) string {
		if method == http.MethodPut && n == 1 {
			leave()
			return cloudtest.CutBefore
		}
		return cloudtest.Pass
	})
	if err := l.Append(ctx, archivetest.Entry(1)); err != nil || len(s.Keys()) != 1 {
		t.Errorf("Append = %v, with %d objects", err, len(s.Keys()))
	}
}

// TestTheCallerLeavesTheQueue has a first writer that S3 does not answer.
func TestTheCallerLeavesTheQueue(t *testing.T) {
	s, url := bucket(t)
	l := open(t, url, 1)
	asked := make(chan struct{}, 1)
	answer := make(chan struct{})
	s.On(func(string, string, int) string { asked <- struct{}{}; <-answer; return cloudtest.Pass })
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Append(context.WithoutCancel(t.Context()), archivetest.Entry(1)); err != nil {
			t.Error(err)
		}
	})
	<-asked
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if err := l.Append(ctx, archivetest.Entry(2)); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("Append of a caller that left = %v", err)
	}
	close(answer)
	wg.Wait()
	if n := len(s.Keys()); n != 1 {
		t.Errorf("%d objects, want 1", n)
	}
}

func TestRefusals(t *testing.T) {
	const notKnown = "whether it has this change is not known"
	puts := func(code string) func(string, string, int) string {
		return func(method, _ string, _ int) string { return map[bool]string{true: code}[method == http.MethodPut] }
	}
	all := func(code string) func(string, string, int) string {
		return func(string, string, int) string { return code }
	}
	for name, tt := range map[string]struct {
		fault         func(method, key string, n int) string
		message, want string
		most          int // puts
	}{
		"the role may not put":    {puts("AccessDenied"), nothingChanged, "s3:PutObject", 1},
		"the role may do nothing": {all("AccessDenied"), notKnown, "s3:GetObject", 1},
		"the bucket is gone":      {puts("NoSuchBucket"), nothingChanged, "NoSuchBucket", 1},
		"S3 is busy":              {puts("ServiceUnavailable"), nothingChanged, "ServiceUnavailable", 16},
		"S3 takes no connection":  {all(cloudtest.CutBefore), notKnown, "s3://test-bucket/config/000000000001.json", 16},
		"S3 does not answer puts": {puts(cloudtest.Hang), nothingChanged, "deadline exceeded", 4},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := bucket(t)
			l, err := s3log.Open(t.Context(), s3log.Options{API: client(url, 1), Bucket: cloudtest.Bucket, Patience: 600 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			s.On(tt.fault)
			err = l.Append(t.Context(), archivetest.Entry(1))
			if f := fault.From(err); err == nil || f.Code != fault.StoreDown || !strings.Contains(f.Message, tt.message) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Append = %v; want %q and %q", err, tt.message, tt.want)
			}
			if n := s.Count("PUT"); n < 1 || n > tt.most {
				t.Errorf("%d puts, want at most %d", n, tt.most)
			}
			s.On(nil)
			archivetest.Add(t, l, archivetest.Entry(2))
			if diff := cmp.Diff(archivetest.Numbered(archivetest.Entry(2)), archivetest.Replayed(t, l)); diff != "" {
				t.Errorf("replay after it passed (-want +got):\n%s", diff)
			}
		})
	}
}

// An answer that is lost for good leaves an entry nobody knows of; the next one
// goes after it.
func TestAnEntryThatNobodyKnowsOf(t *testing.T) {
	s, url := bucket(t)
	l, err := s3log.Open(t.Context(), s3log.Options{API: client(url, 1), Bucket: cloudtest.Bucket, Patience: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.On(func(string, string, int) string { return cloudtest.CutAfter })
	if err := l.Append(t.Context(), archivetest.Entry(1)); err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("Append = %v", err)
	}
	s.On(nil)
	archivetest.Add(t, l, archivetest.Entry(2))
	want := archivetest.Numbered(archivetest.Entry(1), archivetest.Entry(2))
	if diff := cmp.Diff(want, archivetest.Replayed(t, l)); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
}

// A log that loses every race gives up with the number of somebody else's entry.
func TestEveryRaceLost(t *testing.T) {
	s, url := bucket(t)
	l, err := s3log.Open(t.Context(), s3log.Options{API: client(url, 1), Bucket: cloudtest.Bucket, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.On(func(method, key string, _ int) string {
		if method == http.MethodPut {
			s.Set(key, []byte("{}"))
		}
		return cloudtest.Pass
	})
	err = l.Append(t.Context(), archivetest.Entry(1))
	if f := fault.From(err); err == nil || f.Message != nothingChanged {
		t.Errorf("Append = %v", err)
	}
	if n := s.Count("PUT"); n < 5 || n > 16 {
		t.Errorf("%d puts", n)
	}
}
