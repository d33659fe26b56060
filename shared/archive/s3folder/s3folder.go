// Package s3folder is an archive of objects in S3, each put whole. A put replaces
// what has its name, so that repeating one changes nothing; readers see the one
// object or the other, never a part.
//
// The role needs s3:PutObject on the objects, and the bucket's KMS key if it has
// one. Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
// ("Amazon S3 never adds partial objects"), and for consistency
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel.
// It is a package of its own so that a binary that archives to files has no SDK of
// S3.
package s3folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// API is what is asked of S3; *s3.Client is one.
type API interface {
	PutObject(ctx context.Context, in *s3.PutObjectInput, o ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// Options say where the archive is. API and Bucket are required.
type Options struct {
	API      API
	Bucket   string
	Prefix   string        // before the names of objects; "" = none
	Patience time.Duration // the longest that Put tries, repeats included; 0 = 20 s
}

const defaultPatience = 20 * time.Second

// Folder is the archive in a bucket. It is safe for concurrent use, here and in
// other processes.
type Folder struct {
	api      API
	bucket   string
	prefix   string // with its slash, or ""
	patience time.Duration
}

// New is a Folder. It asks nothing of S3.
func New(o Options) *Folder {
	f := &Folder{api: o.API, bucket: o.Bucket, patience: o.Patience}
	if prefix := strings.Trim(o.Prefix, "/"); prefix != "" {
		f.prefix = prefix + "/"
	}
	if f.patience <= 0 {
		f.patience = defaultPatience
	}
	return f
}

// Put stores an object, in place of one of its name, and returns when S3 has it.
// After an error it may have it, or have it soon: then a repeat replaces it by
// itself.
func (f *Folder) Put(ctx context.Context, name string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	sum := sha256.Sum256(body)
	_, err := f.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(f.bucket), Key: aws.String(f.prefix + name), Body: bytes.NewReader(body),
		// No Content-Encoding: a client that undoes it would find another body than the
		// name says.
		ContentType:    aws.String(contentType(name)),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	})
	if err == nil {
		return nil
	}
	url := "s3://" + f.bucket + "/" + f.prefix + name
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.HTTPStatusCode() == http.StatusForbidden {
		return fmt.Errorf("archive: %s cannot be stored: the role needs s3:PutObject, and the bucket's KMS key if it has one: %w", url, err)
	}
	return fmt.Errorf("archive: %s cannot be stored: %w", url, err)
}

func contentType(name string) string {
	if strings.HasSuffix(name, ".gz") {
		return "application/gzip"
	}
	return "application/octet-stream"
}
