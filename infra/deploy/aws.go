package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// identity tells whose credentials are in use.
type identity interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// parameters reads what cdk bootstrap left about itself.
type parameters interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
}

// tokens gives the credentials of the registry.
type tokens interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// session is AWS, seen with the caller's credentials.
type session struct {
	region     string // empty when none is set anywhere
	identity   identity
	parameters parameters
	tokens     func(role string) tokens // as a role, which is assumed first; "" = as the caller
}

// anyRegion answers GetCallerIdentity when no region is set: whether there are
// credentials is worth knowing before there is a region.
const anyRegion = "us-east-1"

// connect reads the environment and the profiles of the AWS CLI. A profile that
// wants a second factor asks for it, when a person is there to be asked.
func connect(ctx context.Context, region string, terminal bool) (*session, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithLogger(logging.Nop{}), // what matters of it comes back as an error
	}
	if terminal {
		options = append(options, config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			o.TokenProvider = stscreds.StdinTokenProvider
		}))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS settings (AWS_PROFILE, ~/.aws/config): %w", err)
	}
	return newSession(cfg), nil
}

func newSession(cfg aws.Config) *session {
	s := &session{region: cfg.Region}
	cfg.Region = cmp.Or(cfg.Region, anyRegion)
	caller := sts.NewFromConfig(cfg)
	s.identity = caller
	s.parameters = ssm.NewFromConfig(cfg)
	s.tokens = func(role string) tokens {
		c := cfg.Copy()
		if role != "" {
			c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(caller, role, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = "sluice-deploy"
			}))
		}
		return ecr.NewFromConfig(c)
	}
	return s
}

// code is what AWS called a refusal, "" of an error that is none.
func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	return ""
}

// why is an error of the SDK in one line. Of a refusal it is the code only: the
// message of SignatureDoesNotMatch repeats the signed headers, the session token
// among them.
func why(err error) string {
	if c := code(err); c != "" {
		return "AWS answered " + c
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
