package sse

import (
	"bufio"
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
		"mark alone":       {"\xef\xbb\xbf\ndata: 1\n\n", []flat{{"", "", "\xef\xbb\xbf\n"}, {"", "1", "data: 1\n\n"}}, ""},
		"mark within":      {"\ndata: 1\n\n\xef\xbb\xbfdata: 2\n\n", []flat{{"", "", "\n"}, {"", "1", "data: 1\n\n"}, {"", "", "\xef\xbb\xbfdata: 2\n\n"}}, ""},
		"mixed line ends":  {"event: a\rdata: 1\r\ndata: 2\n\r\ndata: 3\n\r", []flat{{"a", "1\n2", "event: a\rdata: 1\r\ndata: 2\n\r\n"}, {"", "3", "data: 3\n\r"}}, ""},
		"last one wins":    {"event: a\nevent: b\n\n", []flat{{"b", "", "event: a\nevent: b\n\n"}}, ""},
		"cut within":       {"data: 1\n\ndata: 2\n", []flat{{"", "1", "data: 1\n\n"}, {"", "2", "data: 2\n"}}, ""},
		"cut in a line":    {"data: 1\n\ndata: 12", []flat{{"", "1", "data: 1\n\n"}}, fault.UpstreamCut},
		"cut in the first": {"data: 1", nil, fault.UpstreamCut},
		"mark only":        {"\xef\xbb\xbf", nil, fault.UpstreamCut},
		"cut after cr":     {"data: 1\r", []flat{{"", "1", "data: 1\r"}}, ""},
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

// What was complete when a reader failed is not lost with it.
func TestFramesYieldsWhatCameWithTheError(t *testing.T) {
	broken := errors.New("reset")
	got, err := collect(iotest.DataErrReader(io.MultiReader(strings.NewReader("data: 1\n\n"), iotest.ErrReader(broken))), 1000)
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// idle is a reader that gives nothing and does not say so.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestFramesGivesAnIdleReaderUp(t *testing.T) {
	if _, err := collect(idle{}, 1000); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

func TestFramesGivesALargeBufferBack(t *testing.T) {
	large := "data: " + strings.Repeat("x", 2*keptBuffer) + "\n\n"
	f := framer{r: io.MultiReader(strings.NewReader(large), strings.NewReader("data: 1\n\n")), limit: DefaultLimit, buf: make([]byte, firstBuffer)}
	for _, want := range []int{len(large), len("data: 1\n\n")} {
		end, err := f.boundary()
		if err != nil || end-f.start != want {
			t.Fatalf("a frame of %d bytes, want %d: %v", end-f.start, want, err)
		}
		f.start = end
	}
	if len(f.buf) != firstBuffer {
		t.Errorf("holds %d bytes for a frame of 9", len(f.buf))
	}
}

func TestTerminated(t *testing.T) {
	for raw, want := range map[string]bool{
		"data: 1\n\n": true, "data: 1\r\n\r\n": true, "data: 1\r\r": true, "\n": true, "\r\n": true, ": c\n\r\n": true, "\xef\xbb\xbf\n": true,
		"": false, "data: 1": false, "data: 1\n": false, "data: 1\r\n": false, "data: 1\r": false,
	} {
		if got := Terminated([]byte(raw)); got != want {
			t.Errorf("%q: %v", raw, got)
		}
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
		rest, ok := strings.CutPrefix(string(in), raw.String())
		cut := rest != "" && !strings.HasSuffix(rest, "\n") && !strings.HasSuffix(rest, "\r")
		if !ok || (wholeErr == nil) != (rest == "") || wholeErr != nil && (!cut || fault.CodeOf(wholeErr) != fault.UpstreamCut) {
			t.Fatalf("frames make %q of %q: %v", &raw, in, wholeErr)
		}
		for i, f := range whole {
			if !Terminated([]byte(f.Raw)) && i < len(whole)-1 {
				t.Fatalf("frame %d of %d has no end: %q", i, len(whole), f.Raw)
			}
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	stream := strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n", 1000)
	b.Run("frames", func(b *testing.B) {
		b.SetBytes(int64(len(stream)))
		b.ReportAllocs()
		for b.Loop() {
			for range Frames(strings.NewReader(stream), DefaultLimit) {
			}
		}
	})
	b.Run("scanner", func(b *testing.B) { // the lines only, for comparison
		b.SetBytes(int64(len(stream)))
		b.ReportAllocs()
		for b.Loop() {
			for s := bufio.NewScanner(strings.NewReader(stream)); s.Scan(); {
			}
		}
	})
}

// A frame costs no allocation, however many there are in a stream.
func TestFramesDoNotAllocate(t *testing.T) {
	allocs := func(frames int) float64 {
		stream := strings.Repeat("event: a\ndata: 1\ndata: 2\n\n", frames)
		return testing.AllocsPerRun(10, func() {
			for range Frames(strings.NewReader(stream), DefaultLimit) {
			}
		})
	}
	if few, many := allocs(10), allocs(1000); many > few {
		t.Errorf("10 frames: %v allocations, 1,000 frames: %v", few, many)
	}
}
