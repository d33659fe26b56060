package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
	"github.com/google/go-cmp/cmp"

	"sluice/infra/cost"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// cdk-nag's rules for AWS solutions; what does not apply is suppressed where it is
// made, with the reason.
func TestNag(t *testing.T) {
	var suppressed []string
	for name, g := range profiles() {
		t.Run(name, func(t *testing.T) {
			d := synth(t, g, cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: yes(), Verbose: no()}))
			for _, stack := range []string{"SluiceData", "SluiceApp"} {
				for _, row := range report(t, filepath.Join(d.dir, "AwsSolutions-"+stack+"-NagReport.csv")) {
					switch rule, id, compliance, reason := row[0], row[1], row[2], row[3]; compliance {
					case "Non-Compliant", "UNKNOWN":
						t.Errorf("%s %s: %s", rule, id, row[5])
					case "Suppressed":
						if len(reason) < 30 {
							t.Errorf("%s %s is suppressed because %q", rule, id, reason)
						}
						suppressed = append(suppressed, rule)
					}
				}
			}
		})
	}
	if len(suppressed) == 0 {
		t.Error("nothing is suppressed: did the rules run?")
	}
}

func report(t *testing.T, path string) [][]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows, %v", path, len(rows), err)
	}
	return rows[1:]
}

// cfn-lint, where it is installed. It does not know Fn::GetStackOutput yet, which
// is replaced by a text here.
func TestLint(t *testing.T) {
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Log("cfn-lint is not installed: templates are held against the CDK's own rules only")
		return
	}
	for name, g := range profiles() {
		d := synth(t, g)
		for stack, tmpl := range map[string]template{"SluiceData": d.data, "SluiceApp": d.app} {
			var all any
			if err := json.Unmarshal(tmpl.raw, &all); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), stack+".json")
			if err := os.WriteFile(path, []byte(jsonOf(strong(all))), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(lint, "--regions", "us-east-1", "--ignore-checks", "W", "--", path).CombinedOutput()
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", name, stack, err, out)
			}
		}
	}
}

// strong is a template with a text in place of each weak reference: one that fits
// where it stands, as far as its name tells.
func strong(v any) any {
	switch at := v.(type) {
	case map[string]any:
		if weak, is := at["Fn::GetStackOutput"]; is && len(at) == 1 {
			return placeholder(get(weak, "OutputName").(string))
		}
		for name, inner := range at {
			at[name] = strong(inner)
		}
	case []any:
		for i, inner := range at {
			at[i] = strong(inner)
		}
	}
	return v
}

func placeholder(output string) string {
	for _, like := range []struct{ part, value string }{
		{"Subnet1", "subnet-00000001"}, {"Subnet2", "subnet-00000002"}, {"Subnet3", "subnet-00000003"},
		{"GroupId", "sg-0000000a"}, {"RefVpc", "vpc-0000000a"},
		{"Arn", "arn:aws:s3:::example"}, {"AdminToken", "arn:aws:secretsmanager:us-east-1:000000000000:secret:example"},
	} {
		if strings.Contains(output, like.part) {
			return like.value
		}
	}
	return "example"
}

// TestCostPage holds infra/COST.md against the templates: a new resource is priced
// or named as free.
func TestCostPage(t *testing.T) {
	notes := map[string]string{
		Small:  "one task behind a balancer, ElastiCache Serverless",
		HA:     "two tasks in three zones behind a balancer, ElastiCache Serverless",
		Lambda: "the relay as a function behind API Gateway, ElastiCache Serverless",
	}
	var all []cost.Deployment
	for _, name := range []string{Small, HA, Lambda} {
		d := synth(t, profiles()[name])
		all = append(all, cost.Deployment{Name: name, Note: notes[name], Templates: []json.RawMessage{d.data.raw, d.app.raw}})
	}
	var page bytes.Buffer
	if err := cost.Page(&page, all); err != nil {
		t.Fatal(err)
	}
	const path = "COST.md"
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page.String()); diff != "" {
		t.Errorf("COST.md is not what the templates cost; make cost rewrites it (-page +now)\n%s", diff)
	}
	for _, d := range all {
		e, err := cost.Of(d)
		if err != nil {
			t.Fatal(err)
		}
		if !e.Met() {
			t.Errorf("%s misses its goal", d.Name)
		}
	}
}

// Synthesis asks nobody: no credentials, no network, no Docker.
func TestSynthesisAsksNobody(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "infra")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(binary)
	if exec.Command("unshare", "-n", "true").Run() == nil {
		run = exec.Command("unshare", "-n", binary)
	} else {
		t.Log("network namespaces are not available here: synthesis runs with the network in reach")
	}
	out := filepath.Join(dir, "cdk.out")
	run.Dir = ".."
	run.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "CDK_OUTDIR=" + out,
		"CDK_CONTEXT_JSON=" + jsonOf(profiles()[Small]), "DOCKER_HOST=tcp://127.0.0.1:1",
	}
	if said, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	b, err := os.ReadFile(filepath.Join(out, "SluiceApp.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`@sha256:[0-9a-f]{64}"`).Match(b) {
		t.Error("the image is not named by its digest")
	}
	assets, err := os.ReadFile(filepath.Join(out, "SluiceApp.assets.json"))
	if err != nil {
		t.Fatal(err)
	}
	var listed struct{ DockerImages map[string]any }
	if err := json.Unmarshal(assets, &listed); err != nil || len(listed.DockerImages) > 0 {
		t.Errorf("images for Docker to build: %v, %v", listed.DockerImages, err)
	}
}

func manifest(t *testing.T, d deployment) string {
	t.Helper()
	var all []string
	files, err := filepath.Glob(filepath.Join(d.dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	sort.Strings(all)
	return strings.Join(slices.Compact(all), "\n")
}
