package s3log_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice/shared/cloud/cloudtest"
)

// bucket is an empty bucket and where it is served.
func bucket(t testing.TB) (*cloudtest.S3, string) {
	t.Helper()
	cloud := cloudtest.Start(t)
	return cloud.S3, cloud.URL
}

// client is a client that tries a request so often, without long waits.
func client(url string, tries int) *s3.Client {
	return s3.New(s3.Options{
		Region: cloudtest.Region, BaseEndpoint: aws.String(url), UsePathStyle: true, HTTPClient: awshttp.NewBuildableClient(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: cloudtest.AccessKeyID, SecretAccessKey: cloudtest.SecretKey}, nil
		}),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = tries, time.Millisecond }),
	})
}
