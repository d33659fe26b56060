package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/mod/modfile"
)

const (
	// minNode is the oldest release of Node.js that jsii, on which CDK runs,
	// supports since 2026-10-30, the end of life of Node.js 20.
	minNode = 22
	// patience is how long a check may take. Without any credentials the SDK asks
	// the metadata service of a machine that is none of Amazon's for a few seconds.
	patience = 30 * time.Second
)

// finding is the answer of a check.
type finding struct {
	what string
	ok   bool
	seen string
	fix  string // how a no becomes a yes
}

// tell prints a finding.
func (t *tool) tell(f finding) error {
	mark := "yes"
	if !f.ok {
		mark = "no"
	}
	line := fmt.Sprintf("%-3s  %-11s  %s\n", mark, f.what, f.seen)
	if !f.ok {
		line += "     fix: " + f.fix + "\n"
	}
	_, err := fmt.Fprint(t.out, line)
	return err
}

// check is the subcommand: every check is made, whatever those before it found.
func (t *tool) check(ctx context.Context, args []string) error {
	var p place
	flags := t.flags("check")
	p.regionFlag(flags)
	p.qualifierFlag(flags)
	cdk := flags.String("cdk", defaultCDK, "`version` of aws-cdk that bootstraps")
	if err := t.parse(flags, args, &p); err != nil {
		return err
	}
	b, err := newBootstrap(p.qualifier, *cdk)
	if err != nil {
		return err
	}
	all := true
	tell := func(f finding) {
		all = all && f.ok
		err = errors.Join(err, t.tell(f))
	}
	tell(t.goRelease())
	tell(t.node(ctx))
	s, found := t.session(ctx, &p)
	tell(found)
	account, found := t.credentials(ctx, s)
	tell(found)
	b.account, b.region = account, p.region
	found = b.check(ctx, s)
	if b.wanted && t.terminal {
		err = errors.Join(err, t.tell(found))
		found = t.offer(ctx, b, s)
	}
	if tell(found); err != nil {
		return err
	}
	if !all {
		return errNo
	}
	return nil
}

// goRelease compares the release this was built with, which is the one that
// builds the functions, with what go.mod asks for.
func (t *tool) goRelease() finding {
	f := finding{what: "Go", seen: runtime.Version(), fix: "run this in the folder of the repository"}
	text, err := os.ReadFile(t.module)
	if err != nil {
		f.seen += "; go.mod cannot be read: " + err.Error()
		return f
	}
	module, err := modfile.ParseLax(t.module, text, nil)
	if err != nil || module.Go == nil {
		f.seen += "; go.mod names no release"
		return f
	}
	have, _, _ := strings.Cut(runtime.Version(), " ") // experiments follow a blank
	f.seen += ", go.mod wants " + module.Go.Version
	f.ok = version.Compare(have, "go"+module.Go.Version) >= 0
	f.fix = "install Go " + module.Go.Version + " or newer: https://go.dev/dl/"
	return f
}

// node asks for the release of Node.js on the PATH.
func (t *tool) node(ctx context.Context) finding {
	f := finding{what: "Node.js", fix: fmt.Sprintf("install Node.js %d or newer and put it on PATH: https://nodejs.org/", minNode)}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", "--version")
	cmd.Stdout = &out
	if err := t.run(cmd); err != nil {
		f.seen = "node does not run: " + err.Error()
		return f
	}
	f.seen = strings.TrimSpace(out.String())
	major, _, _ := strings.Cut(strings.TrimPrefix(f.seen, "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		f.seen = fmt.Sprintf("node --version says %q", f.seen)
		return f
	}
	f.ok = n >= minNode
	f.seen += fmt.Sprintf(", CDK wants %d or newer", minNode)
	return f
}

// session reads the settings of AWS, and with them the region. The session is nil
// when they cannot be read.
func (t *tool) session(ctx context.Context, p *place) (*session, finding) {
	f := finding{what: "region", fix: "give --region, or set AWS_REGION (e.g. to eu-west-1)"}
	s, err := t.aws(ctx, p.region)
	if err != nil {
		f.seen, f.fix = why(err), "correct ~/.aws/config, or choose another profile with AWS_PROFILE"
		return nil, f
	}
	if p.region = s.region; p.region == "" {
		f.seen = "none is set"
		return s, f
	}
	f.ok, f.seen = true, p.region
	return s, f
}

// credentials asks whose they are; the account is "" when there are none.
func (t *tool) credentials(ctx context.Context, s *session) (string, finding) {
	f := finding{what: "credentials", fix: "set AWS_PROFILE to a profile of ~/.aws/config (after `aws sso login`, if it is one of IAM Identity Center), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"}
	if s == nil {
		f.seen = "not checked: the settings of AWS cannot be read"
		return "", f
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	who, err := s.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		f.seen = why(err)
		return "", f
	}
	f.ok, f.seen = true, fmt.Sprintf("account %s, %s", aws.ToString(who.Account), aws.ToString(who.Arn))
	return aws.ToString(who.Account), f
}
