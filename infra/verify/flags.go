package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"sluice/shared/secret"
)

// program is the process as far as the checks know it.
type program struct {
	in        io.Reader
	out, errs io.Writer
	config    func(ctx context.Context, region string) (aws.Config, error)
	roots     *x509.CertPool // trusted certificates; nil = the system's
	every     time.Duration  // pause between looks; 0 = defaultEvery
}

// defaultEvery spares the admin API and the quotas of ECS.
const defaultEvery = time.Second

// mostMB bounds the body that is made in memory.
const mostMB = 1024

// choice is what the arguments say.
type choice struct {
	stack, region, endpoint, tokenFile string
	limitMB                            int64 // 0 = the body limit of the host
	yes                                bool
	options
}

// parse reads the arguments; it has printed what is wrong with them when it errs.
func (p *program) parse(args []string) (*choice, error) {
	var c choice
	f := flag.NewFlagSet("verify", flag.ContinueOnError)
	f.SetOutput(p.errs)
	f.StringVar(&c.stack, "stack", "SluiceApp", "`name` of the CloudFormation stack that is checked")
	f.StringVar(&c.region, "region", "", "AWS region of the stack; empty = that of the AWS configuration")
	f.StringVar(&c.endpoint, "endpoint", "", "base `URL`: rehearse against it, without AWS")
	f.StringVar(&c.tokenFile, "admin-token-file", "", "`path` of a file with the admin token, for a rehearsal")
	f.StringVar(&c.model, "model", "claude-haiku-4-5", "`model` that is called")
	f.Int64Var(&c.limitMB, "body-limit", 0, "largest request body in `MB`; 0 = 6 on Lambda, else 32")
	f.DurationVar(&c.patience, "patience", 90*time.Second, "longest wait for a usage record, and for a deleted key to be refused")
	f.IntVar(&c.drainTokens, "drain-tokens", 20000, "length in `tokens` of the answer that runs through a deployment")
	f.BoolVar(&c.yes, "yes", false, "force the deployment without asking")
	err := f.Parse(args)
	if err == nil {
		err = c.validate(f.Args())
		if err != nil {
			_, _ = fmt.Fprintln(p.errs, "verify:", err) // nobody is left to tell
		}
	}
	c.every = p.every
	if c.every == 0 {
		c.every = defaultEvery
	}
	return &c, err
}

func (c *choice) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unknown argument %q; see --help", rest[0])
	case (c.endpoint == "") != (c.tokenFile == ""):
		return errors.New("a rehearsal needs both --endpoint and --admin-token-file")
	case c.limitMB < 0 || c.limitMB > mostMB:
		return fmt.Errorf("--body-limit %d is not within 0 and %d", c.limitMB, mostMB)
	case c.drainTokens < 1 || c.patience <= 0:
		return errors.New("--drain-tokens and --patience must be more than 0")
	case c.endpoint != "":
		return checkEndpoint(c.endpoint)
	}
	return nil
}

// open finds the deployment and its admin token.
func (p *program) open(ctx context.Context, c *choice) (*suite, error) {
	c.confirm = p.ask
	if c.yes {
		c.confirm = func(context.Context, string) bool { return true }
	}
	s := &suite{o: c.options, report: newReport(p.out)}
	token, err := p.find(ctx, c, s)
	if err != nil {
		return nil, err
	}
	s.report.conceal(token)
	s.client = newClient(s.target.endpoint, token, p.roots)
	switch {
	case c.limitMB > 0:
		s.o.bodyLimit = c.limitMB << 20
	case s.target.host == onLambda:
		s.o.bodyLimit = bodyOnLambda
	default:
		s.o.bodyLimit = bodyOnFargate
	}
	return s, nil
}

// find sets what s checks, and returns its admin token.
func (p *program) find(ctx context.Context, c *choice, s *suite) (secret.Value, error) {
	if c.endpoint != "" {
		s.target = &deployment{endpoint: c.endpoint}
		return readTokenFile(c.tokenFile)
	}
	settings, err := p.config(ctx, c.region)
	if err != nil {
		return secret.Value{}, fmt.Errorf("AWS configuration: %w", err)
	}
	if settings.Region == "" {
		return secret.Value{}, errors.New("no AWS region: give --region, or set AWS_REGION")
	}
	s.cloud = newCloud(settings)
	if s.target, err = describe(ctx, cloudformation.NewFromConfig(settings), c.stack, settings.Region); err != nil {
		return secret.Value{}, err
	}
	return readToken(ctx, secretsmanager.NewFromConfig(settings), s.target.adminTokenSecret)
}
