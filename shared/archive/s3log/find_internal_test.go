package s3log

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
)

// counted lists a log of any length without holding it. Other calls are not made.
type counted struct {
	API
	log   *Log
	there func(n int64) bool
	end   int64
	lists int
	grow  int64 // entries that other writers add at each listing
}

func (c *counted) ListObjectsV2(_ context.Context, in *s3.ListObjectsV2Input, _ ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	if c.lists++; c.lists > 100 {
		return nil, errors.New("too many listings")
	}
	after := int64(0)
	if start := aws.ToString(in.StartAfter); start != c.log.key(0) {
		n, err := c.log.number(start)
		if err != nil {
			return nil, err
		}
		after = n
	}
	out := &s3.ListObjectsV2Output{IsTruncated: aws.Bool(false)}
	for n := after + 1; n <= c.end; n++ {
		if !c.there(n) {
			continue
		}
		if len(out.Contents) == int(aws.ToInt32(in.MaxKeys)) {
			out.IsTruncated = aws.Bool(true)
			break
		}
		out.Contents = append(out.Contents, types.Object{Key: aws.String(c.log.key(n))})
	}
	c.end += c.grow
	return out, nil
}

func TestTheEndIsFoundInFewListings(t *testing.T) {
	whole := func(int64) bool { return true }
	for name, tt := range map[string]struct {
		end, from, grow int64
		there           func(int64) bool
		most            int
	}{
		"empty":                   {0, 0, 0, whole, 1},
		"one":                     {1, 0, 0, whole, 1},
		"a page less one":         {999, 0, 0, whole, 1},
		"a page":                  {1000, 0, 0, whole, 2},
		"a page and one":          {1001, 0, 0, whole, 3},
		"two pages":               {2000, 0, 0, whole, 4},
		"many":                    {25_000, 0, 0, whole, 12},
		"a million":               {1_000_000, 0, 0, whole, 22},
		"a million, nearly known": {1_000_000, 999_999, 0, whole, 1},
		"a million, known":        {1_000_000, 1_000_000, 0, whole, 1},
		"with a gap":              {50_000, 0, 0, func(n int64) bool { return n < 1200 || n > 30_000 }, 22},
		"the start is gone":       {50_000, 0, 0, func(n int64) bool { return n > 40_000 }, 22},
		"while others write":      {50_000, 0, 700, whole, 22},
		"as far as names go":      {lastNumber, lastNumber - 5000, 0, whole, 12},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Log{folder: "config/"}
			c := &counted{log: l, there: tt.there, end: tt.end, grow: tt.grow}
			l.api = c
			got, err := l.last(t.Context(), tt.from)
			if want := c.end - tt.grow; err != nil || got != want || c.lists > tt.most {
				t.Errorf("last = %d, %v after %d listings; want %d after at most %d", got, err, c.lists, want, tt.most)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"seq":1,"action":"delete","kind":"key","id":"a"}`), int64(1))
	f.Add([]byte(`{"seq":2,"action":"put","kind":"team","id":"a","sealed":"AQ=="}`), int64(1))
	f.Add([]byte(`{"seq":1}{`), int64(1))
	f.Fuzz(func(t *testing.T, body []byte, seq int64) {
		e, err := decode(body, seq)
		if err != nil {
			return
		}
		if e.Seq != seq || e.Check() != nil {
			t.Fatalf("decode(%q, %d) = %+v", body, seq, e)
		}
		again, err := json.Marshal(e)
		if err != nil {
			return // a time that JSON reads and does not write
		}
		var same archive.Entry
		if same, err = decode(again, seq); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, same); diff != "" {
			t.Errorf("an entry changes when it is written again (-want +got):\n%s", diff)
		}
	})
}

func FuzzNumber(f *testing.F) {
	for _, key := range []string{"config/000000000001.json", "config/1.json", "config/", "x"} {
		f.Add(key)
	}
	l := &Log{bucket: "b", folder: "config/"}
	f.Fuzz(func(t *testing.T, key string) {
		if n, err := l.number(key); err == nil && l.key(n) != key {
			t.Errorf("number(%q) = %d, whose key is %q", key, n, l.key(n))
		}
	})
}
