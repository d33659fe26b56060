package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// TestCheck holds the whole output against texts: one where all is well, and one
// or more for every check that says no.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		args []string
		set  func(*stand, *printed)
	}{
		"check-yes":           {0, nil, func(*stand, *printed) {}},
		"check-region-given":  {0, []string{"--region", "us-east-2"}, func(*stand, *printed) {}},
		"check-old-bootstrap": {1, nil, func(s *stand, _ *printed) { s.version = "20" }},
		"check-odd-bootstrap": {1, nil, func(s *stand, _ *printed) { s.version = "new" }},
		"check-no-bootstrap":  {1, nil, func(s *stand, _ *printed) { s.version = "" }},
		"check-qualifier":     {1, []string{"--qualifier", "relay", "--cdk", "2.1149.0"}, func(s *stand, _ *printed) { s.version = "" }},
		"check-may-not-read":  {1, nil, func(s *stand, _ *printed) { s.refuse["GetParameter by test-key"] = true }},
		"check-refused":       {1, nil, func(s *stand, _ *printed) { s.refuse["GetCallerIdentity by test-key"] = true }},
		"check-nothing": {1, nil, func(s *stand, p *printed) {
			p.module = "missing/go.mod"
			p.run = func(*exec.Cmd) error { return exec.ErrNotFound }
			p.aws = func(context.Context, string) (*session, error) {
				return s.session("", aws.CredentialsProviderFunc(none)), nil
			}
		}},
		"check-bad-settings": {1, nil, func(_ *stand, p *printed) {
			p.aws = func(context.Context, string) (*session, error) { return nil, errors.New("profile x does not exist") }
		}},
		"check-old": {1, nil, func(_ *stand, p *printed) {
			if err := os.WriteFile(p.module, []byte("module sluice\n\ngo 1.99.0\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.run = func(c *exec.Cmd) error { _, err := c.Stdout.Write([]byte("v20.20.2\n")); return err }
		}},
		"check-odd": {1, nil, func(_ *stand, p *printed) {
			if err := os.WriteFile(p.module, []byte("module sluice\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.run = func(c *exec.Cmd) error { _, err := c.Stdout.Write([]byte("Welcome\n")); return err }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			p := newTool(t, s)
			c.set(s, p)
			p.do(t, name, c.code, append([]string{"check"}, c.args...)...)
			if slices.ContainsFunc(p.ran, func(c string) bool { return strings.HasPrefix(c, "npx") }) {
				t.Error("cdk ran, though there is nobody to ask")
			}
		})
	}
}

// TestOffer answers the question, and sees what runs.
func TestOffer(t *testing.T) {
	const npx = "npx --yes aws-cdk@2.1148.1 bootstrap aws://111122223333/eu-west-1"
	for name, c := range map[string]struct {
		answer string
		fail   error // of cdk
		code   int
		runs   bool
	}{
		"offer-yes":    {"y\n", nil, 0, true},
		"offer-no":     {"\n", nil, 1, false},
		"offer-end":    {"y", nil, 1, false}, // the terminal went away
		"offer-failed": {"yes\n", errors.New("exit status 1"), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.version = ""
			p := newTool(t, s)
			p.terminal, p.in = true, strings.NewReader(c.answer)
			node := p.run
			p.run = func(cmd *exec.Cmd) error {
				if err := node(cmd); err != nil || cmd.Args[0] == "node" {
					return err
				}
				if c.fail == nil {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.version = "26"
				}
				return c.fail
			}
			p.do(t, name, c.code, "check")
			if slices.Contains(p.ran, npx) != c.runs {
				t.Errorf("ran %q; want %q: %v", p.ran, npx, c.runs)
			}
		})
	}
}

// TestConnect reads credentials, region and endpoint from the environment, as the
// command does outside of tests.
func TestConnect(t *testing.T) {
	s := newStand(t)
	empty := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_SESSION_TOKEN": "test-session",
		"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": s.url, "AWS_CA_BUNDLE": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": empty, "AWS_SHARED_CREDENTIALS_FILE": empty,
	} {
		t.Setenv(name, value)
	}
	p := newTool(t, s)
	p.aws = func(ctx context.Context, region string) (*session, error) { return connect(ctx, region, true) }
	p.do(t, "check-yes", 0, "check")
	t.Setenv("AWS_PROFILE", "missing")
	if _, err := connect(t.Context(), "", false); err == nil || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Errorf("a profile that is missing: %v", err)
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"help":          {0, []string{"--help"}},
		"help-check":    {0, []string{"check", "--help"}},
		"help-push":     {0, []string{"push", "-h"}},
		"help-probe":    {0, []string{"probe", "--help"}},
		"usage-none":    {2, nil},
		"usage-unknown": {2, []string{"launch"}},
		"usage-flag":    {2, []string{"check", "--verbose"}},
		"usage-region":  {2, []string{"push", "--region", "eu-west-1.example.com/"}},
		"usage-name":    {2, []string{"check", "--qualifier", "a; rm"}},
		"usage-cdk":     {2, []string{"check", "--cdk", "3.0.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			newTool(t, newStand(t)).do(t, name, c.code, c.args...)
		})
	}
}
