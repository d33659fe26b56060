// Package providertest runs a provider against text files: which request it makes
// of an account and an outbound call, and what it makes of an error answer.
//
// A case is a txtar file with one of these groups of sections, or both:
//
//	-- account --       JSON: base_url, region, auth, secret
//	-- outbound --      JSON: op (generate, count_tokens), model, stream, header, query
//	-- body --          the body to send, without its last newline
//	-- want request --  the request as it leaves, or the fault
//
//	-- answer --        the answer: status, headers, a blank line, the body
//	-- want verdict --  the verdict
//
// Run with -update to write what is wanted anew.
package providertest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"sluice/shared/provider"
)

// The flag must be there before the test binary parses its arguments.
var update = flag.Bool("update", false, "write the wanted sections of txtar cases anew")

// now is when every answer is judged.
func now() time.Time { return time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC) }

// Run runs the cases in the files dir/*.txtar against p, each as a subtest.
func Run(t *testing.T, p provider.Provider, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s (%v)", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runFile(t, p, file) })
	}
}

func runFile(t *testing.T, p provider.Provider, file string) {
	t.Helper()
	want, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string, len(want.Files))
	for _, s := range want.Files {
		sections[s.Name] = string(s.Data)
	}
	got := &txtar.Archive{Comment: want.Comment}
	ran := false
	for _, s := range want.Files {
		switch s.Name {
		case "want request":
			s.Data, ran = []byte(request(t, p, sections)), true
		case "want verdict":
			s.Data, ran = []byte(verdict(t, p, sections["answer"])), true
		}
		got.Files = append(got.Files, s)
	}
	if !ran {
		t.Fatal("the case wants nothing")
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(got))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
