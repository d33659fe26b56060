package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"sluice/infra/image"
	"sluice/shared/secret"
)

// push is the subcommand. The reference is all that it writes to the standard
// output, for `--context image=$(deploy push)`.
func (t *tool) push(ctx context.Context, args []string) error {
	var p place
	var o image.Options
	flags := t.flags("push")
	p.regionFlag(flags)
	p.qualifierFlag(flags)
	flags.StringVar(&o.Binary, "binary", "bin/arm64/streamer", "`path` of the streamer")
	flags.StringVar(&o.Arch, "arch", image.DefaultArch, "its `architecture`, arm64 or amd64")
	if err := t.parse(flags, args, &p); err != nil {
		return err
	}
	img, err := image.Build(o)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("the image has no digest: %w", err)
	}
	s, err := t.aws(ctx, p.region)
	if err != nil {
		return err
	}
	if s.region == "" {
		return fmt.Errorf("no region: give --region, or set AWS_REGION: %w", errUsage)
	}
	who, err := s.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return fmt.Errorf("credentials: %s; `deploy check` tells more", why(err))
	}
	auth, err := t.registry(ctx, s, who, p.qualifier)
	if err != nil {
		return err
	}
	reference := t.reference(aws.ToString(who.Account), s.region, p.qualifier, digest.String())
	if err := image.Push(ctx, img, reference, auth, t.err); err != nil {
		return fmt.Errorf("%w (is the account bootstrapped? `deploy check` tells)", err)
	}
	_, err = fmt.Fprintln(t.out, reference)
	return err
}

// registry signs in at ECR, as CDK does: with the role that cdk bootstrap made for
// it (ImagePublishingRole in bootstrap-template.yaml), and with the caller's own
// credentials where that is refused.
func (t *tool) registry(ctx context.Context, s *session, who *sts.GetCallerIdentityOutput, qualifier string) (image.Auth, error) {
	own, err := arn.Parse(aws.ToString(who.Arn))
	if err != nil {
		return image.Auth{}, fmt.Errorf("the caller's ARN %q is none: %w", aws.ToString(who.Arn), err)
	}
	role := fmt.Sprintf("arn:%s:iam::%s:role/cdk-%s-image-publishing-role-%[2]s-%[4]s", own.Partition, aws.ToString(who.Account), qualifier, s.region)
	out, err := s.tokens(role).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if code(err) != "" {
		if _, failed := fmt.Fprintf(t.err, "%s is refused (%s); using your own credentials\n", role, code(err)); failed != nil {
			return image.Auth{}, failed
		}
		out, err = s.tokens("").GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	}
	if err != nil {
		return image.Auth{}, fmt.Errorf("signing in at ECR in %s: %s", s.region, why(err))
	}
	if len(out.AuthorizationData) == 0 {
		return image.Auth{}, errors.New("signing in at ECR: the answer has no token")
	}
	return readToken(secret.New(aws.ToString(out.AuthorizationData[0].AuthorizationToken)))
}

// readToken reads a token of GetAuthorizationToken: user and password, a colon
// between, in base64 (authorizationToken in
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_AuthorizationData.html).
// Its error holds nothing of the token.
func readToken(token secret.Value) (image.Auth, error) {
	text, err := base64.StdEncoding.DecodeString(token.Reveal())
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok || user == "" || password == "" {
		return image.Auth{}, errors.New("signing in at ECR: the token is not user:password in base64")
	}
	return image.Auth{User: user, Password: secret.New(password)}, nil
}
