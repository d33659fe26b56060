package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/events"
)

// TestDeployment checks deployments in which all is well.
func TestDeployment(t *testing.T) {
	for _, host := range []string{onFargate, onLambda} {
		t.Run(host, func(t *testing.T) {
			// API Gateway answers large bodies as Lambda's quota makes it; the product would take them.
			limit := oversized(canned(http.MethodPost, messagesPath, 413, `{"type":"error","error":{"type":"request_too_large","message":"at most 6 MB"}}`))
			if host == onFargate {
				limit = nil
			}
			srv := front(t, shared, limit, true, true)
			a := standIn(srv.URL, host)
			p := a.against(t)
			p.roots = trust(srv)
			r := execute(t.Context(), t, p, "--region", region, "--yes")
			golden(t, host+".txt", r.out)
			if r.code != exitYes {
				t.Errorf("exit code %d", r.code)
			}
			var got events.Tick
			if err := json.Unmarshal(a.payload, &got); err != nil || got.Job != "sweep" || time.Since(got.Scheduled) > time.Minute {
				t.Errorf("the sweep was invoked with %s", a.payload)
			}
			if a.forced != (host == onFargate) {
				t.Errorf("a deployment was forced: %t", a.forced)
			}
		})
	}
}

// cutting cuts answers off once a deployment was forced, as a relay does that does
// not drain.
func (a *amazon) cutting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == messagesPath {
			w = &cutWriter{w, a}
		}
		next.ServeHTTP(w, r)
	})
}

type cutWriter struct {
	http.ResponseWriter
	a *amazon
}

func (w *cutWriter) Write(p []byte) (int, error) {
	w.a.mu.Lock()
	forced := w.a.forced
	w.a.mu.Unlock()
	if forced {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestCloudFlaws(t *testing.T) {
	memory := func(a *amazon) { a.outputs["CacheKind"] = "memorydb" }
	output := func(name, value string) func(*amazon) { return func(a *amazon) { a.outputs[name] = value } }
	cases := map[string]struct {
		change func(*amazon)
		front  func(a *amazon) flaw
		args   []string
		in     string
		check  string
		want   finding
	}{
		"user with a password":        {change: func(a *amazon) { a.iamType = "password" }, check: "store user", want: fails(`the user sluice authenticates by "password"`)},
		"no such user":                {change: func(a *amazon) { a.iamType = "" }, check: "store user", want: fails("there is no user sluice")},
		"MemoryDB":                    {change: memory, check: "store user", want: works("authenticates by IAM")},
		"MemoryDB, password":          {change: func(a *amazon) { memory(a); a.iamType = "password" }, check: "store user", want: fails(`by "password"`)},
		"MemoryDB, no user":           {change: func(a *amazon) { memory(a); a.iamType = "" }, check: "store user", want: fails("there is no user")},
		"user not told":               {change: output("CacheUser", ""), check: "store user", want: skip("no output CacheUser")},
		"IAM, no signing in":          {front: func(*amazon) flaw { return openToAll }, check: "store user", want: skip("there was no signing in that shows")},
		"sweep fails":                 {change: func(a *amazon) { a.sweep = "store is down" }, check: "sweep", want: fails("store is down")},
		"sweep missing":               {change: func(a *amazon) { a.sweep = "missing" }, check: "sweep", want: fails("there is no function sweep")},
		"sweep forbidden":             {change: func(a *amazon) { a.sweep = "forbidden" }, check: "sweep", want: skip("AccessDenied")},
		"sweep not told":              {change: output("SweepFunction", ""), check: "sweep", want: skip("no output SweepFunction")},
		"answer cut by a deployment":  {front: func(a *amazon) flaw { return a.cutting }, args: []string{"--yes"}, check: "drain", want: fails("the answer broke off")},
		"tasks stay":                  {change: func(a *amazon) { a.stuck = true }, args: []string{"--yes"}, check: "drain", want: skip("before every task was told to stop")},
		"deployment forbidden":        {change: func(a *amazon) { a.refused = true }, args: []string{"--yes"}, check: "drain", want: skip("AccessDenied")},
		"deployment not confirmed":    {in: "\n", check: "drain", want: skip("not confirmed")},
		"deployment without terminal": {check: "drain", want: skip("not confirmed")},
		"deployment confirmed":        {in: "y\n", check: "drain", want: works("the answer went on")},
		"service not told":            {change: output("Service", ""), args: []string{"--yes"}, check: "drain", want: skip("no outputs Cluster and Service")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := standIn("", onFargate)
			var f flaw
			if c.front != nil {
				f = c.front(a)
			}
			a.outputs["Endpoint"] = front(t, shared, f, false, false).URL
			if c.change != nil {
				c.change(a)
			}
			p := a.against(t)
			p.in = strings.NewReader(c.in)
			r := execute(t.Context(), t, p, append([]string{"--region", region}, c.args...)...)
			got := r.findings[c.check]
			if got.outcome != c.want.outcome || !strings.Contains(got.saw, c.want.saw) {
				t.Errorf("%s: %s, %s\nwant %s, with %q\n%s", c.check, got.outcome, got.saw, c.want.outcome, c.want.saw, r.out)
			}
			if code := map[bool]int{true: exitNo, false: exitYes}[strings.Contains(r.out, "\n  no ")]; r.code != code {
				t.Errorf("exit code %d, want %d", r.code, code)
			}
			if asked := a.did("UpdateService"); asked && got == skip("not confirmed; answer y, or give --yes") {
				t.Error("the service was deployed without a yes")
			}
		})
	}
}

// TestUnusable lists why the checks cannot be made: the message names what is
// wrong and how to put it right.
func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(`{"token": "test-admin-token-0001"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	in := []string{"--region", region}
	cases := map[string]struct {
		change func(*amazon)
		args   []string
		want   string
	}{
		"no stack":            {func(a *amazon) { a.outputs = nil }, in, "Stack with id SluiceApp does not exist"},
		"other stack":         {func(a *amazon) { a.outputs = nil }, append([]string{"--stack", "Mine"}, in...), "Stack with id Mine does not exist"},
		"no endpoint":         {func(a *amazon) { delete(a.outputs, "Endpoint") }, in, "no output Endpoint; deploy it again"},
		"no secret":           {func(a *amazon) { delete(a.outputs, "AdminTokenSecret") }, in, "no output AdminTokenSecret"},
		"unknown host":        {func(a *amazon) { a.outputs["Host"] = "ec2" }, in, `the output Host is "ec2" (want fargate or lambda)`},
		"endpoint is no URL":  {func(a *amazon) { a.outputs["Endpoint"] = "sluice.example.com" }, in, "is no base URL"},
		"secret is empty":     {func(a *amazon) { a.token = " " }, in, "put the bare token there"},
		"secret is JSON":      {func(a *amazon) { a.token = `{"token":"test-admin-token-0001"}` }, in, "put the bare token there"},
		"no region":           {nil, nil, "no AWS region: give --region"},
		"unknown argument":    {nil, []string{"now"}, `unknown argument "now"`},
		"unknown flag":        {nil, []string{"--force"}, "flag provided but not defined: -force"},
		"endpoint alone":      {nil, []string{"--endpoint", "http://127.0.0.1:1"}, "both --endpoint and --admin-token-file"},
		"token alone":         {nil, []string{"--admin-token-file", file}, "both --endpoint and --admin-token-file"},
		"no such token file":  {nil, []string{"--endpoint", "http://127.0.0.1:1", "--admin-token-file", file + "s"}, "--admin-token-file: open"},
		"token file is JSON":  {nil, []string{"--endpoint", "http://127.0.0.1:1", "--admin-token-file", file}, "put the bare token there"},
		"rehearsal of no URL": {nil, []string{"--endpoint", "ftp://x", "--admin-token-file", file}, "is no base URL"},
		"body limit":          {nil, []string{"--body-limit", "-1"}, "--body-limit -1 is not within 0 and 1024"},
		"drain tokens":        {nil, []string{"--drain-tokens", "0"}, "--drain-tokens and --patience must be more than 0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := standIn("https://sluice.example.com", onFargate)
			if c.change != nil {
				c.change(a)
			}
			r := execute(t.Context(), t, a.against(t), c.args...)
			if r.code != exitUnusable || r.out != "" || !strings.Contains(r.errs, c.want) {
				t.Errorf("exit code %d, output %q, errors %q; want %q", r.code, r.out, r.errs, c.want)
			}
		})
	}
	t.Run("help", func(t *testing.T) {
		if r := execute(t.Context(), t, program{}, "--help"); r.code != exitYes || !strings.Contains(r.errs, "-drain-tokens") {
			t.Errorf("exit code %d, errors %q", r.code, r.errs)
		}
	})
}
