// Package cloud opens what the settings of a deployment name on AWS: the store with
// an IAM sign-in, the master key in KMS, the config log and the usage
// archive in S3, the admin token in Secrets Manager. A process that asks for none of these links none of their
// clients.
package cloud

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"sluice/shared/archive/s3folder"
	"sluice/shared/archive/s3log"
	"sluice/shared/config"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/iam"
	"sluice/shared/vault/awskms"
)

// Cloud is the account and region that the process runs in.
type Cloud struct {
	settings *config.Config
	aws      aws.Config
}

// Load finds region and credentials as the AWS SDK does.
func Load(ctx context.Context, c *config.Config) (*Cloud, error) {
	found, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	return &Cloud{settings: c, aws: found}, nil
}

// Store says how to open the store of the settings. It errs when they name none.
func (c *Cloud) Store(log *slog.Logger) (store.Options, error) {
	o := store.Options{URL: c.settings.RedisURL, Logger: log}
	if o.URL.Empty() {
		return o, fmt.Errorf("SLUICE_REDIS_URL: a deployment needs a store (want rediss://USER@HOST:6379)")
	}
	if c.settings.RedisIAM == "" {
		return o, nil
	}
	at, err := url.Parse(o.URL.Reveal())
	if err != nil || at.User.Username() == "" {
		return o, fmt.Errorf("SLUICE_REDIS_URL: names no user to sign in as (want rediss://USER@HOST:6379)")
	}
	kind, name, _ := strings.Cut(c.settings.RedisIAM, "/")
	o.Credentials = iam.Credentials(iam.Options{
		Service: iam.Service(kind), Cache: name, User: at.User.Username(), Region: c.aws.Region, AWS: c.aws.Credentials,
	})
	return o, nil
}

// Master is the master key of the settings. It errs when they name none.
func (c *Cloud) Master() (*awskms.Wrapper, error) {
	if c.settings.KMSKey == "" {
		return nil, fmt.Errorf("SLUICE_KMS_KEY: a deployment needs a master key (want the ARN of a KMS key)")
	}
	return awskms.New(kms.NewFromConfig(c.aws), c.settings.KMSKey), nil
}

// ConfigLog opens the config log of the settings. It errs when they name none, and
// as s3log.Open.
func (c *Cloud) ConfigLog(ctx context.Context) (*s3log.Log, error) {
	if c.settings.ConfigBucket == "" {
		return nil, fmt.Errorf("SLUICE_CONFIG_BUCKET: a deployment needs a config log (want the name of an S3 bucket)")
	}
	return s3log.Open(ctx, s3log.Options{API: s3.NewFromConfig(c.aws), Bucket: c.settings.ConfigBucket})
}

// Archive is the usage archive of the settings. It errs when they name none.
func (c *Cloud) Archive() (*s3folder.Folder, error) {
	if c.settings.ArchiveBucket == "" {
		return nil, fmt.Errorf("SLUICE_ARCHIVE_BUCKET: a deployment needs a usage archive (want the name of an S3 bucket)")
	}
	return s3folder.New(s3folder.Options{API: s3.NewFromConfig(c.aws), Bucket: c.settings.ArchiveBucket}), nil
}

// AdminToken is the token of the admin API, from the settings or the secret that
// they name. It errs when there is none, or one that is too short to be one.
func (c *Cloud) AdminToken(ctx context.Context) (secret.Value, error) {
	if c.settings.AdminSecret == "" {
		if c.settings.AdminToken.Empty() {
			return secret.Value{}, fmt.Errorf("SLUICE_ADMIN_SECRET: a deployment needs an admin token (want the ARN of a secret)")
		}
		return c.settings.AdminToken, nil
	}
	got, err := secretsmanager.NewFromConfig(c.aws).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &c.settings.AdminSecret})
	if err != nil {
		return secret.Value{}, fmt.Errorf("SLUICE_ADMIN_SECRET=%s: %w", c.settings.AdminSecret, err)
	}
	token := aws.ToString(got.SecretString)
	if err := config.AdminToken(token); err != nil {
		return secret.Value{}, fmt.Errorf("SLUICE_ADMIN_SECRET=%s: %w", c.settings.AdminSecret, err)
	}
	return secret.New(token), nil
}
