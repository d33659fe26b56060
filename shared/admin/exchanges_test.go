package admin_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the answers into the files of exchanges")

// TestExchanges plays the files of testdata: requests in order, each with the
// answer that it must get. What differs from run to run has names in them: <key 1>
// is the id of the first key that was made, <secret 1> the first secret.
func TestExchanges(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no exchanges", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) { play(t, b, file) })
		})
	}
}

func play(t *testing.T, b *bench, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := txtar.Parse(raw)
	if bytes.Contains(in.Comment, []byte("with usage")) {
		b.settle(t, 12)
	}
	out := &txtar.Archive{Comment: in.Comment}
	names := &names{values: map[string]string{}, taken: map[string]int{}}
	for _, f := range in.Files {
		if f.Name != "request" {
			continue
		}
		request := names.restore(string(f.Data))
		w := b.serve(b.parse(t, request))
		answer := names.replace(exchange(t, w.Code, w.Header(), w.Body.Bytes()))
		out.Files = append(out.Files, f, txtar.File{Name: "response", Data: []byte(answer)})
	}
	got := txtar.Format(out)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// parse reads a request: a line of method and path, headers, an empty line and
// the body.
func (b *bench) parse(t *testing.T, text string) *http.Request {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(text))
	tp := textproto.NewReader(r)
	line, err := tp.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	method, path, _ := strings.Cut(line, " ")
	header, err := tp.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b.request(method, "/admin/v1"+path, string(bytes.TrimSpace(body)), func(r *http.Request) {
		for name, values := range header {
			r.Header[name] = values
		}
	})
}

// exchange is an answer as the files have it.
func exchange(t *testing.T, status int, h http.Header, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", status, http.StatusText(status))
	for _, name := range []string{"Etag", "Location", "Allow", "Retry-After", "Www-Authenticate"} {
		if v := h.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	if len(body) > 0 {
		b.WriteByte('\n')
		if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
			t.Errorf("the body is no JSON: %v", err)
			b.Write(body)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// names stand for ids and secrets.
type names struct {
	values map[string]string // by name
	taken  map[string]int    // how many of a kind there are
}

var (
	ids     = regexp.MustCompile(`\b(key|user|team|acct)_[0-9a-hjkmnp-tv-z]{26}\b`)
	secrets = regexp.MustCompile(`\bsk-sluice-[0-9A-Za-z_-]{43}`)
	hints   = regexp.MustCompile(`"hint": "([^"]{4})"`)
)

func (n *names) name(kind, value string) string {
	for name, v := range n.values {
		if v == value {
			return name
		}
	}
	n.taken[kind]++
	name := fmt.Sprintf("<%s %d>", kind, n.taken[kind])
	n.values[name] = value
	return name
}

func (n *names) replace(text string) string {
	text = secrets.ReplaceAllStringFunc(text, func(s string) string { return n.name("secret", s) })
	text = hints.ReplaceAllStringFunc(text, func(s string) string {
		hint := hints.FindStringSubmatch(s)[1]
		for name, v := range n.values {
			if strings.HasPrefix(name, "<secret") && strings.HasSuffix(v, hint) {
				return fmt.Sprintf(`"hint": "<end of %s>"`, strings.Trim(name, "<>"))
			}
		}
		return s
	})
	return ids.ReplaceAllStringFunc(text, func(id string) string {
		kind, _, _ := strings.Cut(id, "_")
		return n.name(kind, id)
	})
}

func (n *names) restore(text string) string {
	for name, v := range n.values {
		text = strings.ReplaceAll(text, name, v)
	}
	return text
}
