// Package cloud opens what the settings of a deployment name on AWS: the store with
// an IAM sign-in, the master key in KMS, the config log and the usage
// archive in S3, the admin token in Secrets Manager. A process that asks for none of these links none of their
// clients.
//
// What can be wrong with them is found out when they are opened, before there is a
// request to fail: the key is used once, the bucket is listed, the secret is read.
// Each error begins with the setting that is to be looked at.
package cloud

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"sluice/shared/archive/s3folder"
	"sluice/shared/archive/s3log"
	"sluice/shared/config"
	latesqs "sluice/shared/late/sqs"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/iam"
	"sluice/shared/vault/awskms"
)

// patience is how long one service may take to answer at the start. Where there is
// no way to it the SDK alone would dial for minutes, and say nothing meanwhile.
const patience = 10 * time.Second

// Cloud is the account and region that the process runs in.
type Cloud struct {
	settings *config.Config
	aws      aws.Config
}

// Load finds region and credentials as the AWS SDK does. It errs when there is no
// region; credentials are asked for when they are used.
func Load(ctx context.Context, c *config.Config) (*Cloud, error) {
	found, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if found.Region == "" {
		return nil, errors.New("AWS_REGION: unset, and there is no profile that names a region (want e.g. eu-central-1)")
	}
	return &Cloud{settings: c, aws: found}, nil
}

// Store says how to open the store of the settings. It errs when they name none,
// and when they sign in with IAM as nobody.
func (c *Cloud) Store(log *slog.Logger) (store.Options, error) {
	o := store.Options{URL: c.settings.RedisURL, Logger: log, Patience: store.StartPatience}
	if o.URL.Empty() {
		return o, errors.New("SLUICE_REDIS_URL: a deployment needs a store (want rediss://USER@HOST:6379)")
	}
	if c.settings.RedisIAM == "" {
		return o, nil
	}
	user, err := store.User(o.URL)
	if err != nil {
		return o, fmt.Errorf("SLUICE_REDIS_URL: %w", err)
	}
	if user == "" {
		return o, errors.New("SLUICE_REDIS_URL: names no user to sign in as with IAM (want rediss://USER@HOST:6379)")
	}
	kind, name, _ := strings.Cut(c.settings.RedisIAM, "/")
	o.Credentials = iam.Credentials(iam.Options{
		Service: iam.Service(kind), Cache: name, User: user, Region: c.aws.Region, AWS: c.aws.Credentials,
	})
	return o, nil
}

// Master is the master key of the settings. It errs when they name none, and as
// awskms.Wrapper when it does not seal and open: a process that may do one of the
// two only would begin well and fail when the first account is made, or used.
func (c *Cloud) Master(ctx context.Context) (*awskms.Wrapper, error) {
	if c.settings.KMSKey == "" {
		return nil, errors.New("SLUICE_KMS_KEY: a deployment needs a master key (want the ARN of a KMS key)")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := awskms.New(kms.NewFromConfig(c.aws), c.settings.KMSKey)
	wrapped, err := w.Wrap(ctx, []byte(rand.Text())) // it opens nothing
	if err == nil {
		_, err = w.Unwrap(ctx, wrapped)
	}
	if err != nil {
		return nil, fmt.Errorf("SLUICE_KMS_KEY: %w", err)
	}
	return w, nil
}

// ConfigLog opens the config log of the settings. It errs when they name none, and
// as s3log.Open.
func (c *Cloud) ConfigLog(ctx context.Context) (*s3log.Log, error) {
	if c.settings.ConfigBucket == "" {
		return nil, errors.New("SLUICE_CONFIG_BUCKET: a deployment needs a config log (want the name of an S3 bucket)")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := s3log.Open(ctx, s3log.Options{API: s3.NewFromConfig(c.aws), Bucket: c.settings.ConfigBucket})
	if err != nil {
		return nil, fmt.Errorf("SLUICE_CONFIG_BUCKET=%s: %w", c.settings.ConfigBucket, err)
	}
	return l, nil
}

// Late is the queue of the settings for settlements that the store did not take.
// It errs when they name none.
func (c *Cloud) Late(log *slog.Logger) (*latesqs.Queue, error) {
	if c.settings.LateQueue == "" {
		return nil, errors.New("SLUICE_LATE_QUEUE: a deployment needs a queue for what the store does not take (want the URL of an SQS queue)")
	}
	q, err := latesqs.New(latesqs.Options{API: sqs.NewFromConfig(c.aws), QueueURL: c.settings.LateQueue, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("SLUICE_LATE_QUEUE: %w", err)
	}
	return q, nil
}

// Archive is the usage archive of the settings. It errs when they name none.
func (c *Cloud) Archive() (*s3folder.Folder, error) {
	if c.settings.ArchiveBucket == "" {
		return nil, fmt.Errorf("SLUICE_ARCHIVE_BUCKET: a deployment needs a usage archive (want the name of an S3 bucket)")
	}
	return s3folder.New(s3folder.Options{API: s3.NewFromConfig(c.aws), Bucket: c.settings.ArchiveBucket}), nil
}

// AdminToken is the token of the admin API, from the settings or the secret that
// they name. It errs when there is none, or one that cannot be used. No error
// holds any of it.
func (c *Cloud) AdminToken(ctx context.Context) (secret.Value, error) {
	if c.settings.AdminSecret == "" {
		if c.settings.AdminToken.Empty() {
			return secret.Value{}, errors.New("SLUICE_ADMIN_SECRET: a deployment needs an admin token (want the ARN of a secret)")
		}
		return c.settings.AdminToken, nil
	}
	token, err := c.token(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("SLUICE_ADMIN_SECRET=%s: %w", c.settings.AdminSecret, err)
	}
	return token, nil
}

// token reads the secret of the settings.
func (c *Cloud) token(ctx context.Context) (secret.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := secretsmanager.NewFromConfig(c.aws).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &c.settings.AdminSecret})
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", advice(err), err)
	}
	if got.SecretString == nil {
		return secret.Value{}, errors.New("the secret holds bytes (want a text)")
	}
	token := *got.SecretString
	if strings.TrimSpace(token) != token {
		return secret.Value{}, errors.New("the secret begins or ends with white space, with which no request could send it")
	}
	if err := config.AdminToken(token); err != nil {
		return secret.Value{}, fmt.Errorf("the secret is %w", err)
	}
	return secret.New(token), nil
}

// advice says what an operator should look at when a secret is not given out
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html).
func advice(err error) string {
	answer, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		return "Secrets Manager could not be reached: look at the region, the VPC endpoint or NAT, and the role's credentials"
	}
	switch answer.ErrorCode() {
	case "ResourceNotFoundException":
		return "there is no such secret in the region of the process, or it has no value yet"
	case "AccessDeniedException":
		return "the role may not read it: allow secretsmanager:GetSecretValue, and kms:Decrypt for a key of your own"
	case "DecryptionFailure":
		return "its KMS key does not open it: look at the key's state and policy"
	case "InvalidRequestException":
		return "it cannot be read in its state: if it is scheduled for deletion, restore it"
	default:
		return "Secrets Manager refused or failed"
	}
}
