package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// masks hide what differs from run to run.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d+(\.\d+)?(µs|ms|s)\b`), "<time>"},
	{regexp.MustCompile(`in \d+ ms`), "in <time>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "<date>"},
	{regexp.MustCompile(`\d\d:\d\d UTC`), "<time> UTC"},
	{regexp.MustCompile(`\$0\.\d+`), "$<cost>"},
	{regexp.MustCompile(`\d+ (events|pieces|tokens in|out)\b`), "<n> $1"},
	{regexp.MustCompile(`keys: \d+`), "keys: <n>"},
}

// golden compares a report with a file, figures masked.
func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, m := range masks {
		got = m.what.ReplaceAllString(got, m.with)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update rewrites it; -want +got):\n%s", path, diff)
	}
}
