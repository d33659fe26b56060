package sse

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
)

// chunked gives a reader that returns n bytes at a time.
type chunked struct {
	s string
	n int
}

func (c *chunked) Read(p []byte) (int, error) {
	if c.s == "" {
		return 0, io.EOF
	}
	n := copy(p, c.s[:min(c.n, len(c.s))])
	c.s = c.s[n:]
	return n, nil
}

// flat is a frame as text: event, data, raw.
type flat struct{ Event, Data, Raw string }

func collect(r io.Reader, limit int) (frames []flat, err error) {
	for f, e := range Frames(r, limit) {
		if e != nil {
			return frames, e
		}
		frames = append(frames, flat{string(f.Event), string(f.Data), string(f.Raw)})
	}
	return frames, nil
}

func TestFrames(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []flat
		code fault.Code
	}{
		"empty":            {"", nil, ""},
		"one":              {"event: a\ndata: {}\n\n", []flat{{"a", "{}", "event: a\ndata: {}\n\n"}}, ""},
		"no space":         {"event:a\ndata:1\n\n", []flat{{"a", "1", "event:a\ndata:1\n\n"}}, ""},
		"two spaces":       {"data:  1\n\n", []flat{{"", " 1", "data:  1\n\n"}}, ""},
		"crlf":             {"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", []flat{{"a", "1", "event: a\r\ndata: 1\r\n\r\n"}, {"", "2", "data: 2\r\n\r\n"}}, ""},
		"cr":               {"event: a\rdata: 1\r\rdata: 2\r\r", []flat{{"a", "1", "event: a\rdata: 1\r\r"}, {"", "2", "data: 2\r\r"}}, ""},
		"several lines":    {"data: 1\ndata: 2\ndata:\n\n", []flat{{"", "1\n2\n", "data: 1\ndata: 2\ndata:\n\n"}}, ""},
		"comment":          {": ping\n\ndata: 1\n\n", []flat{{"", "", ": ping\n\n"}, {"", "1", "data: 1\n\n"}}, ""},
		"leading blank":    {"\ndata: 1\n\n", []flat{{"", "", "\n"}, {"", "1", "data: 1\n\n"}}, ""},
		"mark":             {"\xef\xbb\xbfdata: 1\n\n", []flat{{"", "1", "\xef\xbb\xbfdata: 1\n\n"}}, ""},
		"no colon":         {"data\n\n", []flat{{"", "", "data\n\n"}}, ""},
		"other fields":     {"id: 7\nretry: 5\nevent: x\n\n", []flat{{"x", "", "id: 7\nretry: 5\nevent: x\n\n"}}, ""},
		"split utf-8":      {"data: grüße €\n\n", []flat{{"", "grüße €", "data: grüße €\n\n"}}, ""},
		"cut within":       {"data: 1\n\ndata: 2\n", []flat{{"", "1", "data: 1\n\n"}}, fault.UpstreamCut},
		"cut in a line":    {"data: 1", nil, fault.UpstreamCut},
		"too large":        {"data: " + strings.Repeat("x", 40_000) + "\n\n", nil, fault.UpstreamFailed},
		"as large as fits": {"data: " + strings.Repeat("x", 29_000) + "\n\n", []flat{{"", strings.Repeat("x", 29_000), "data: " + strings.Repeat("x", 29_000) + "\n\n"}}, ""},
	} {
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			got, err := collect(&chunked{c.in, n}, 30_000)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s by %d (-want +got)\n%s", name, n, diff)
			}
			if code := fault.Code(""); err != nil {
				code = fault.CodeOf(err)
				if code != c.code {
					t.Errorf("%s by %d: %v", name, n, err)
				}
			} else if code != c.code {
				t.Errorf("%s by %d: no error", name, n)
			}
		}
	}
}

func TestFramesYieldsTheReadersError(t *testing.T) {
	broken := errors.New("reset")
	got, err := collect(io.MultiReader(strings.NewReader("data: 1\n\nda"), iotest.ErrReader(broken)), 1000)
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFramesSaysWhenMoreIsAtHand(t *testing.T) {
	var more []bool
	for f := range Frames(strings.NewReader("data: 1\n\ndata: 2\n\ndata: 3\n\n"), 1000) {
		more = append(more, f.More)
	}
	if diff := cmp.Diff([]bool{true, true, false}, more); diff != "" {
		t.Error(diff)
	}
}

func TestFramesStopsWhenTheReaderStops(t *testing.T) {
	n := 0
	for range Frames(strings.NewReader("data: 1\n\ndata: 2\n\n"), 1000) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d frames", n)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("event: a\ndata: 1\n\ndata: 2\r\n\r\n: c\r\r"), uint8(1))
	f.Add([]byte("\n\n\r\n\r"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		const limit = 1 << 20
		whole, wholeErr := collect(bytes.NewReader(in), limit)
		parts, partsErr := collect(&chunked{string(in), int(n%16) + 1}, limit)
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Fatalf("chunks change the frames (-whole +parts)\n%s", diff)
		}
		if (wholeErr == nil) != (partsErr == nil) {
			t.Fatalf("whole: %v, parts: %v", wholeErr, partsErr)
		}
		var raw strings.Builder
		for _, f := range whole {
			raw.WriteString(f.Raw)
		}
		if got := raw.String(); wholeErr == nil && got != string(in) || !strings.HasPrefix(string(in), got) {
			t.Fatalf("frames make %q of %q", got, in)
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	stream := strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n", 1000)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for range Frames(strings.NewReader(stream), 1<<20) {
		}
	}
}
