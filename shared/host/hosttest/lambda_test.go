package hosttest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// function is a runtime client that answers one invocation.
type function struct {
	t    *testing.T
	root string
}

func newFunction(t *testing.T, l *Lambda) function {
	return function{t, "http://" + l.Addr() + "/2018-06-01/runtime/"}
}

// next is the id and event of the next invocation.
func (f function) next() (id string, event []byte) {
	f.t.Helper()
	res, err := http.Get(f.root + "invocation/next")
	if err != nil {
		f.t.Error(err)
		return "", nil
	}
	defer res.Body.Close()
	if event, err = io.ReadAll(res.Body); err != nil {
		f.t.Error(err)
	}
	return res.Header.Get("Lambda-Runtime-Aws-Request-Id"), event
}

// post sends something to the runtime API and returns the status.
func (f function) post(path, body string) int {
	f.t.Helper()
	res, err := http.Post(f.root+path, "application/octet-stream", strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestFailuresReachTheClient(t *testing.T) {
	for name, answer := range map[string]func(f function, id string) int{
		"function error": func(f function, id string) int { return f.post("invocation/"+id+"/error", "it broke") },
		"no prelude":     func(f function, id string) int { return f.post("invocation/"+id+"/response", "it broke") },
		"bad prelude": func(f function, id string) int {
			return f.post("invocation/"+id+"/response", "{\x00\x00\x00\x00\x00\x00\x00\x00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLambda()
			defer l.Close()
			f, status := newFunction(t, l), make(chan int, 1)
			go func() {
				id, event := f.next()
				if !bytes.Contains(event, []byte(`"rawPath":"/a"`)) {
					t.Errorf("event %s", event)
				}
				status <- answer(f, id)
			}()
			res, err := (&http.Client{Transport: l}).Get("https://function.test/a")
			if err == nil {
				defer res.Body.Close()
				t.Errorf("answered %s", res.Status)
			}
			if got, want := <-status, map[bool]int{true: http.StatusAccepted, false: http.StatusBadRequest}[name == "function error"]; got != want {
				t.Errorf("the function was told %d, want %d", got, want)
			}
		})
	}
}

func TestAnInitErrorFailsWhatFollows(t *testing.T) {
	l := NewLambda()
	defer l.Close()
	f := newFunction(t, l)
	if got := f.post("init/error", "no settings"); got != http.StatusAccepted {
		t.Errorf("status %d", got)
	}
	if _, err := l.RoundTrip(request(t)); err == nil || !strings.Contains(err.Error(), "no settings") {
		t.Errorf("got %v", err)
	}
	if got := f.post("invocation/unknown/response", ""); got != http.StatusBadRequest {
		t.Errorf("an answer to nothing: status %d", got)
	}
	if got := f.post("invocation/unknown/error", ""); got != http.StatusBadRequest {
		t.Errorf("a failure of nothing: status %d", got)
	}
}

func TestAClientThatLeavesLetsTheFunctionFinish(t *testing.T) {
	l := NewLambda()
	defer l.Close()
	f, status := newFunction(t, l), make(chan int, 1)
	go func() {
		id, _ := f.next()
		status <- f.post("invocation/"+id+"/response", "{}\x00\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("x", 1<<20))
	}()
	res, err := l.RoundTrip(request(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := <-status; got != http.StatusAccepted {
		t.Errorf("status %d", got)
	}
}

func TestCloseEndsWhoWaits(t *testing.T) {
	l := NewLambda()
	ended := make(chan error, 1)
	r := request(t)
	go func() {
		_, err := l.RoundTrip(r)
		ended <- err
	}()
	l.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://function.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
