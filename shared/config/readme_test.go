package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/config"
)

// TestReadmeHasTheTable holds the settings in the README against the table.
func TestReadmeHasTheTable(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const head = "| Setting | Default | Meaning |\n|---|---|---|\n"
	_, rest, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("README.md has no table that begins with\n%s", head)
	}
	documented, _, _ := strings.Cut(rest, "\n\n")
	var want []string
	for _, s := range config.Table() {
		value := "unset"
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		want = append(want, "| `"+s.Name+"` | "+value+" | "+s.Meaning+" |")
	}
	if diff := cmp.Diff(want, strings.Split(documented, "\n")); diff != "" {
		t.Errorf("README.md differs from the table (-table +README)\n%s", diff)
	}
}
