package relay_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"sluice/shared/host"
	"sluice/shared/pool"
	"sluice/shared/usage"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestExchanges replays what is on the wire: the file "client" is what the client
// sends and "answer" what the vendor answers, "sent" is what the vendor got and
// "got" what the client got. In a file whose name begins with "renamed" the
// account has another name for the model.
func TestExchanges(t *testing.T) {
	files, err := filepath.Glob("testdata/exchanges/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exchanges: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { exchange(t, file) })
	}
}

func exchange(t *testing.T, file string) {
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, f := range golden.Files {
		in[f.Name] = string(f.Data)
	}
	renamed := strings.HasPrefix(filepath.Base(file), "renamed")
	var s setup
	if renamed {
		s.rules = pool.ModelRules{Map: map[string]string{"haiku": "claude-haiku-4-5"}}
	}
	answerHead, answerBody := split(in["answer"])
	var line string
	b := open(t, s, func(w http.ResponseWriter, r *http.Request) {
		line = r.Method + " " + r.URL.RequestURI()
		answers(w, answerHead, answerBody)
	})
	head, body := split(in["client"])
	status, h, answer := raw(t, b.front.Listener.Addr().String(), head, body)
	rows := b.settled(t)
	heads, bodies := b.upstream.got()
	if len(heads) != 1 || len(rows) != 1 {
		t.Fatalf("%d requests, %d records", len(heads), len(rows))
	}
	if !renamed {
		same(t, "request body", []byte(body), bodies[0])
		if rows[0].Outcome == usage.Complete {
			same(t, "answer", []byte(answerBody), answer)
		}
	}
	h.Del("Date")
	if id := h.Get(host.RequestID); h.Get("Request-Id") == id { // the relay's own, in its own answer
		h.Set("Request-Id", "(of the relay)")
		h.Del("Content-Length")
		answer = bytes.ReplaceAll(answer, []byte(id), []byte("(of the relay)"))
	}
	h.Set(host.RequestID, "(of the relay)")
	got := txtar.Archive{Comment: golden.Comment, Files: []txtar.File{
		{Name: "client", Data: []byte(in["client"])}, {Name: "answer", Data: []byte(in["answer"])},
		{Name: "sent", Data: dump(line, heads[0], bodies[0])}, {Name: "got", Data: dump(status, h, answer)},
	}}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(golden)), string(txtar.Format(&got))); diff != "" {
		t.Errorf("run with -update if this is meant (-want +got):\n%s", diff)
	}
}

// split is a message's head and body; the body's last line end is the file's.
func split(message string) (head, body string) {
	head, body, _ = strings.Cut(message, "\n\n")
	if !strings.HasSuffix(body, "\n\n") {
		body = strings.TrimSuffix(body, "\n")
	}
	return strings.ReplaceAll(head, "\n", "\r\n"), body
}

// raw sends a request as it is written, with its length added.
func raw(t *testing.T, addr, head, body string) (status string, h http.Header, answer []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the answer was read
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	if answer, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.Status, res.Header, answer
}

// answers writes a response as it is written in the file, and closes.
func answers(w http.ResponseWriter, head, body string) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // HTTP/1 can be hijacked
	}
	_, _ = fmt.Fprintf(out, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
	_ = out.Flush() // a relay that left fails the test otherwise
	_ = conn.Close()
}

func same(t *testing.T, what string, in, out []byte) {
	t.Helper()
	if sha256.Sum256(in) != sha256.Sum256(out) {
		t.Errorf("the %s was changed:\n%q\n%q", what, in, out)
	}
}

// dump is a message with its headers in order.
func dump(first string, h http.Header, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, first)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "\n%s", body)
	if !bytes.HasSuffix(body, []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes()
}
