package s3log_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/archive"
	"sluice/shared/archive/archivetest"
	"sluice/shared/archive/s3log"
	"sluice/shared/cloud/cloudtest"
)

// fill puts entries there as if another process had.
func fill(t testing.TB, s *cloudtest.S3, count int) {
	t.Helper()
	for n := 1; n <= count; n++ {
		e := archivetest.Entry(n)
		e.Seq = int64(n)
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		s.Set(key(n), body)
	}
}

func TestReplayOfManyPages(t *testing.T) {
	const count = 123
	s, url := bucket(t)
	s.Limit(10)
	fill(t, s, count)
	got := archivetest.Replayed(t, open(t, url, 1))
	for i, e := range got {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d has number %d", i, e.Seq)
		}
	}
	if len(got) != count {
		t.Errorf("%d entries, want %d", len(got), count)
	}
}

// What another process writes meanwhile is not part of it.
func TestReplayEndsWhereItBegan(t *testing.T) {
	s, url := bucket(t)
	fill(t, s, 2)
	l := open(t, url, 1)
	s.On(func(method, _ string, n int) string {
		if method == cloudtest.List && n == 2 {
			fill(t, s, 3)
		}
		return cloudtest.Pass
	})
	if got := archivetest.Replayed(t, l); len(got) != 2 || len(s.Keys()) != 3 {
		t.Errorf("%d entries of %d, want the 2 there were", len(got), len(s.Keys()))
	}
}

func TestReplayNamesWhatIsWrong(t *testing.T) {
	const count = 25
	for name, tt := range map[string]struct {
		broken  int
		body    []byte
		want    string
		deliver int // entries before the error
	}{
		"the first is missing":      {1, nil, "config/000000000001.json is missing", 0},
		"one is missing":            {15, nil, "config/000000000015.json is missing", 14},
		"the last of a page":        {10, nil, "config/000000000010.json is missing", 9},
		"the first of a page":       {11, nil, "config/000000000011.json is missing", 10},
		"the last is missing":       {25, nil, "config/000000000025.json is missing", 24},
		"no JSON":                   {7, []byte("{"), "config/000000000007.json is damaged", 6},
		"another entry's number":    {7, []byte(`{"seq":8,"action":"delete","kind":"key","id":"a"}`), "it holds entry 8, want 7", 6},
		"an entry without a record": {7, []byte(`{"seq":7,"action":"delete","kind":"key"}`), "names no record", 6},
		"far too large":             {7, bytes.Repeat([]byte(" "), 5<<20), "more than 4194304 bytes", 6},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := bucket(t)
			s.Limit(10)
			fill(t, s, count)
			l := open(t, url, 1) // it has seen the last one
			s.Set(key(tt.broken), tt.body)
			seen := 0
			err := l.Replay(t.Context(), func(archive.Entry) error { seen++; return nil })
			if err == nil || !strings.Contains(err.Error(), "s3://test-bucket/") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Replay = %v, want %q", err, tt.want)
			}
			if seen != tt.deliver {
				t.Errorf("%d entries before the error, want %d", seen, tt.deliver)
			}
		})
	}
}

// S3 keeps the checksum that came with the object, and the reader compares.
func TestReplayComparesChecksums(t *testing.T) {
	s, url := bucket(t)
	l := open(t, url, 1)
	archivetest.Add(t, l, archivetest.Entry(1))
	s.Change(key(1), func(body []byte) []byte { return bytes.Replace(body, []byte("admin"), []byte("nimda"), 1) })
	err := l.Replay(t.Context(), func(archive.Entry) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "checksum") || !strings.Contains(err.Error(), key(1)) {
		t.Errorf("Replay of a changed object = %v", err)
	}
}

func TestReplayWhenS3Fails(t *testing.T) {
	s, url := bucket(t)
	l := open(t, url, 1)
	archivetest.Add(t, l, archivetest.Entry(1), archivetest.Entry(2))
	for name, tt := range map[string]struct{ method, verdict, want string }{
		"an entry that goes meanwhile": {http.MethodGet, "NoSuchKey", "000000000001.json is missing"},
		"no objects":                   {http.MethodGet, "AccessDenied", "s3:GetObject"},
		"no list":                      {cloudtest.List, "AccessDenied", "s3:ListBucket"},
		"no connection":                {http.MethodGet, cloudtest.CutBefore, "000000000001.json"},
	} {
		s.On(func(method, _ string, _ int) string { return map[bool]string{true: tt.verdict}[method == tt.method] })
		err := l.Replay(t.Context(), func(archive.Entry) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "config log") {
			t.Errorf("%s: Replay = %v, want %q", name, err, tt.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	s, url := bucket(t)
	openAt := func(ctx context.Context, url string) error {
		_, err := s3log.Open(ctx, s3log.Options{API: client(url, 1), Bucket: cloudtest.Bucket})
		return err
	}
	for _, strange := range []string{"config/notes.txt", "config/1.json", "config/0000000000001.json", "config/000000000001.json/a"} {
		s.Set(strange, []byte("x"))
		if err := openAt(t.Context(), url); err == nil || !strings.Contains(err.Error(), "s3://test-bucket/"+strange+" is no entry") {
			t.Errorf("Open with %s = %v", strange, err)
		}
		s.Set(strange, nil)
	}
	s.Set("config/", []byte{}) // a folder that the console made
	if err := openAt(t.Context(), url); err != nil {
		t.Errorf("Open with a folder = %v", err)
	}
	s.On(func(string, string, int) string { return "NoSuchBucket" })
	if err := openAt(t.Context(), url); err == nil || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("Open without a bucket = %v", err)
	}
	nobody := httptest.NewServer(nil)
	nobody.Close()
	if err := openAt(t.Context(), nobody.URL); err == nil || !strings.Contains(err.Error(), "config log") {
		t.Errorf("Open without S3 = %v", err)
	}
}
