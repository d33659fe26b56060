package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"sluice/shared/secret"
)

// The hosts that a deployment may have.
const (
	onFargate = "fargate"
	onLambda  = "lambda"
)

// deployment is what is checked, as the outputs of its stack tell.
type deployment struct {
	stack    string // "" in a rehearsal
	region   string
	endpoint string // base URL
	host     string // onFargate, onLambda, or "" in a rehearsal
	profile  string // size that was deployed

	adminTokenSecret string // ARN in Secrets Manager
	cluster, service string // of ECS, on Fargate
	sweepFunction    string // name
	cacheUser        string // id of the store's user
	cacheKind        string // serverless, nodes or memorydb
}

func (d *deployment) rehearsal() bool { return d.stack == "" }

// title is the first line of the report.
func (d *deployment) title() string {
	if d.rehearsal() {
		return fmt.Sprintf("rehearsal against %s: AWS checks are not made", d.endpoint)
	}
	title := fmt.Sprintf("stack %s in %s on %s: %s", d.stack, d.region, d.host, d.endpoint)
	if d.profile != "" {
		title += " (profile " + d.profile + ")"
	}
	return title
}

// stacks reads CloudFormation.
type stacks interface {
	DescribeStacks(ctx context.Context, in *cloudformation.DescribeStacksInput, o ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error)
}

// secrets reads Secrets Manager.
type secrets interface {
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// describe reads the outputs of a stack.
func describe(ctx context.Context, s stacks, name, region string) (*deployment, error) {
	out, err := s.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		return nil, fmt.Errorf("stack %s in %s: %w", name, region, err)
	}
	if len(out.Stacks) != 1 {
		return nil, fmt.Errorf("stack %s in %s: %d stacks of this name; deploy it first, or name another with --stack", name, region, len(out.Stacks))
	}
	outputs := make(map[string]string)
	for _, o := range out.Stacks[0].Outputs {
		outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	d := &deployment{
		stack: name, region: region,
		endpoint: outputs["Endpoint"], host: outputs["Host"], profile: outputs["Profile"],
		adminTokenSecret: outputs["AdminTokenSecret"], cluster: outputs["Cluster"], service: outputs["Service"],
		sweepFunction: outputs["SweepFunction"], cacheUser: outputs["CacheUser"], cacheKind: outputs["CacheKind"],
	}
	return d, d.validate()
}

// validate errs where an output without which nothing can be checked is missing.
func (d *deployment) validate() error {
	for _, o := range []struct{ name, value string }{{"Endpoint", d.endpoint}, {"AdminTokenSecret", d.adminTokenSecret}} {
		if o.value == "" {
			return fmt.Errorf("stack %s has no output %s; deploy it again with this version", d.stack, o.name)
		}
	}
	if d.host != onFargate && d.host != onLambda {
		return fmt.Errorf("stack %s: the output Host is %q (want %s or %s); deploy it again with this version", d.stack, d.host, onFargate, onLambda)
	}
	return checkEndpoint(d.endpoint)
}

// checkEndpoint errs on what is no base URL.
func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("the endpoint %q is no base URL (want e.g. https://sluice.example.com)", text)
	}
	return nil
}

// readToken reads the admin token of a deployment.
func readToken(ctx context.Context, s secrets, arn string) (secret.Value, error) {
	out, err := s.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		return secret.Value{}, fmt.Errorf("admin token: %w", err)
	}
	return token(aws.ToString(out.SecretString), "the secret "+arn)
}

// readTokenFile reads the admin token of a rehearsal.
func readTokenFile(path string) (secret.Value, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return secret.Value{}, fmt.Errorf("--admin-token-file: %w", err)
	}
	return token(string(text), "the file "+path)
}

// token is the admin token in a text. Its errors hold nothing of the text.
func token(text, where string) (secret.Value, error) {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsAny(text, "{} \t\r\n") {
		return secret.Value{}, errors.New(where + " is not an admin token and nothing else; put the bare token there")
	}
	return secret.New(text), nil
}
