package s3log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sluice/shared/archive"
)

const (
	suffix     = ".json"
	digits     = 12
	lastNumber = 999_999_999_999 // names sort as their numbers up to here
	idName     = "sluice-id"     // of the metadata that tells puts apart
	maxEntry   = 4 << 20         // bytes; a record has a few thousand
)

// outcome is what became of a put.
type outcome int

const (
	written outcome = iota // the object is ours
	taken                  // the object is another writer's
	absent                 // there is no object
	unknown                // it cannot be found out now
)

// put writes the object of an entry and, when that fails in any way, looks at what
// is there: an error says little about a request whose repeats the SDK hides.
func (l *Log) put(ctx context.Context, seq int64, body []byte, id string) (outcome, error) {
	sum := sha256.Sum256(body)
	trial, cancel := context.WithTimeout(ctx, l.patience/3)
	defer cancel()
	_, err := l.api.PutObject(trial, &s3.PutObjectInput{
		Bucket: aws.String(l.bucket), Key: aws.String(l.key(seq)), Body: bytes.NewReader(body),
		ContentType: aws.String("application/json"), IfNoneMatch: aws.String("*"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		Metadata:       map[string]string{idName: id},
	})
	if err == nil {
		return written, nil
	}
	found, errLook := l.look(ctx, seq, id)
	return found, errors.Join(l.explain(seq, err), errLook)
}

// look reads who wrote an object. It has time of its own: what became of a put must
// be found out even when the put has used up all there was.
func (l *Log) look(ctx context.Context, seq int64, id string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience/3)
	defer cancel()
	out, err := l.get(ctx, seq)
	switch {
	case status(err) == http.StatusNotFound:
		return absent, nil
	case err != nil:
		return unknown, fmt.Errorf("reading it back: %w", err)
	}
	if err := out.Body.Close(); err != nil {
		return unknown, fmt.Errorf("reading it back: %w", err)
	}
	if out.Metadata[idName] == id {
		return written, nil
	}
	return taken, nil
}

// final says whether a refusal stays: the bucket, the role or the request is wrong.
// 409 is a conflict with a request at the same time, 412 with an object that is
// there or was; 408 and 429 pass.
func final(err error) bool {
	code := status(err)
	switch code {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code < 500
}

// status is the HTTP status that S3 answered with, 0 for an error without one.
func status(err error) int {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return answer.HTTPStatusCode()
	}
	return 0
}

func (l *Log) get(ctx context.Context, seq int64) (*s3.GetObjectOutput, error) {
	return l.api.GetObject(ctx, &s3.GetObjectInput{
		Bucket: aws.String(l.bucket), Key: aws.String(l.key(seq)), ChecksumMode: types.ChecksumModeEnabled,
	})
}

// read is the entry in an object; S3 keeps its checksum, which the SDK compares.
func (l *Log) read(ctx context.Context, seq int64) (_ archive.Entry, err error) {
	out, err := l.get(ctx, seq)
	if status(err) == http.StatusNotFound {
		return archive.Entry{}, l.missing(seq)
	}
	if err != nil {
		return archive.Entry{}, l.explain(seq, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(out.Body, maxEntry+1))
	if err != nil {
		return archive.Entry{}, l.explain(seq, err)
	}
	e, err := decode(body, seq)
	if err != nil {
		return archive.Entry{}, fmt.Errorf("%s is damaged: %w", l.url(seq), err)
	}
	return e, nil
}

// decode is the entry in the body of object seq.
func decode(body []byte, seq int64) (archive.Entry, error) {
	var e archive.Entry
	if len(body) > maxEntry {
		return e, fmt.Errorf("it has more than %d bytes", maxEntry)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, err
	}
	if e.Seq != seq {
		return e, fmt.Errorf("it holds entry %d, want %d", e.Seq, seq)
	}
	return e, e.Check()
}

// key is the name of an entry's object; 0 gives a name before all of them.
func (l *Log) key(seq int64) string {
	return fmt.Sprintf("%s%0*d%s", l.folder, digits, seq, suffix)
}

// number is the entry that the name of an object says.
func (l *Log) number(key string) (int64, error) {
	text, ok := strings.CutSuffix(strings.TrimPrefix(key, l.folder), suffix)
	seq, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || seq < 1 || key != l.key(seq) {
		return 0, fmt.Errorf("s3://%s/%s is no entry of the log: move it elsewhere", l.bucket, key)
	}
	return seq, nil
}

func (l *Log) url(seq int64) string { return "s3://" + l.bucket + "/" + l.key(seq) }

func (l *Log) missing(seq int64) error {
	return fmt.Errorf("%s is missing, though the log goes on after it: restore it from a version or a backup of the bucket", l.url(seq))
}

// explain names the object and, when S3 refuses the role, what the role needs.
func (l *Log) explain(seq int64, err error) error {
	if status(err) == http.StatusForbidden {
		return fmt.Errorf("%s: the role needs s3:PutObject, s3:GetObject and s3:ListBucket, and the bucket's KMS key if it has one: %w", l.url(seq), err)
	}
	return fmt.Errorf("%s: %w", l.url(seq), err)
}
