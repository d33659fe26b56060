package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"sluice/infra/image"
)

const (
	// defaultCDK is the release of the CDK CLI whose schema fits the awscdk of
	// go.mod.
	defaultCDK = "2.1148.1"
	// minBootstrap is the version of the bootstrap stack from which on its roles
	// publish to buckets of their own account only. AWS recommends it to everyone
	// ("AWS recommends upgrading your bootstrap stack to version 21", notice of the
	// CDK CLI, 2024-10-24); CDK itself would be content with 6 (DefaultStackSynthesizer
	// in github.com/aws/aws-cdk).
	minBootstrap = 21
)

// bootstrap is what `cdk bootstrap` prepares in an account and a region: the
// bucket, the repository and the roles with which CDK deploys.
type bootstrap struct {
	account, region, qualifier, cdk string

	wanted bool // it is missing or too old, so running it helps
}

func newBootstrap(qualifier, cdk string) (*bootstrap, error) {
	// It becomes an argument of npx; and 3.x does not read what awscdk v2 writes.
	if !regexp.MustCompile(`^2\.[0-9]+\.[0-9]+$`).MatchString(cdk) {
		return nil, fmt.Errorf("--cdk %q is no release of aws-cdk 2 (want e.g. %s): %w", cdk, defaultCDK, errUsage)
	}
	return &bootstrap{qualifier: qualifier, cdk: cdk}, nil
}

// parameter is where the bootstrap stack leaves its version (CdkBootstrapVersion
// in bootstrap-template.yaml of github.com/aws/aws-cdk-cli).
func (b *bootstrap) parameter() string { return "/cdk-bootstrap/" + b.qualifier + "/version" }

// command bootstraps. With a qualifier of its own it also gets a stack of its own:
// under the default name it would replace what others deploy with.
func (b *bootstrap) command() []string {
	args := []string{"npx", "--yes", "aws-cdk@" + b.cdk, "bootstrap", "aws://" + b.account + "/" + b.region}
	if b.qualifier != image.DefaultQualifier {
		args = append(args, "--qualifier", b.qualifier, "--toolkit-stack-name", "CDKToolkit-"+b.qualifier)
	}
	return args
}

// check reads the version of the bootstrap stack.
func (b *bootstrap) check(ctx context.Context, s *session) finding {
	b.wanted = false
	f := finding{what: "bootstrap", fix: "first what is said above"}
	if s == nil || b.account == "" || b.region == "" {
		f.seen = "not checked: it needs credentials and a region"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := s.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(b.parameter())})
	var missing *types.ParameterNotFound
	if err != nil && !errors.As(err, &missing) {
		f.seen = fmt.Sprintf("the parameter %s cannot be read: %s", b.parameter(), why(err))
		f.fix = "allow ssm:GetParameter on it"
		return f
	}
	f.fix = strings.Join(b.command(), " ")
	if err != nil {
		b.wanted = true
		f.seen = fmt.Sprintf("not done in aws://%s/%s with qualifier %s", b.account, b.region, b.qualifier)
		return f
	}
	text := aws.ToString(out.Parameter.Value)
	n, err := strconv.Atoi(text)
	if err != nil {
		f.seen = fmt.Sprintf("the parameter %s is %q, which is no version", b.parameter(), text)
		return f
	}
	f.ok = n >= minBootstrap
	b.wanted = !f.ok
	f.seen = fmt.Sprintf("version %d, wanted %d or newer", n, minBootstrap)
	return f
}

// offer asks whether to bootstrap now, does it, and checks again.
func (t *tool) offer(ctx context.Context, b *bootstrap, s *session) finding {
	args := b.command()
	f := finding{what: "bootstrap", seen: "not run", fix: strings.Join(args, " ")}
	if _, err := fmt.Fprint(t.out, "     Run it now? It makes a stack in your account. [y/N] "); err != nil {
		f.seen = err.Error()
		return f
	}
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil || answer != "y" && answer != "yes" {
		return f
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) // its parts were looked at by parse and newBootstrap
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.in, t.err, t.err
	if err := t.run(cmd); err != nil {
		f.seen = "cdk bootstrap failed: " + err.Error()
		return f
	}
	return b.check(ctx, s)
}
