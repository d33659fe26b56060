// Package s3log is the config log in S3: an object for each entry, which several
// processes may write at once.
//
// Entry n is the object config/<n in twelve digits>.json. It is put on the condition
// that there is none of that name (If-None-Match: *), so that of two writers one
// takes the number and the other, answered 412, takes the next. Each put carries an
// id of its own in the object's metadata. When the answer to a put is lost, whether
// S3 never saw it or its repeat was answered 412 because the first had worked, the
// object is read back and its id says whose it is: an entry is neither lost nor
// written twice.
//
// The role needs s3:PutObject and s3:GetObject on the objects and s3:ListBucket on
// the bucket; without the last, S3 answers 403 for an object that is not there.
// Sources: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html,
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html and
// API_GetObject.html. It is a package of its own so that a binary that logs to a
// file has no SDK of S3.
package s3log

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sluice/shared/archive"
	"sluice/shared/fault"
)

// API is what is asked of S3; *s3.Client is one.
type API interface {
	PutObject(ctx context.Context, in *s3.PutObjectInput, o ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	GetObject(ctx context.Context, in *s3.GetObjectInput, o ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, o ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
}

// Options say where the log is. API and Bucket are required.
type Options struct {
	API    API
	Bucket string
	Prefix string // before config/ in the names of objects; "" = none
	// Patience is the longest that Append tries to write; 0 = 12 s. It may take a
	// third more to find out what became of the last try.
	Patience time.Duration
}

const (
	defaultPatience = 12 * time.Second
	attempts        = 16 // puts for one entry
	firstWait       = 10 * time.Millisecond
	longestWait     = 500 * time.Millisecond
)

// Log is the config log in a bucket. It is safe for concurrent use, here and in
// other processes.
type Log struct {
	api      API
	bucket   string
	folder   string // of the entries, with its slash
	patience time.Duration

	// writing has room for one writer: entries of one process need not race.
	writing chan struct{}
	closed  bool         // guarded by writing
	seq     atomic.Int64 // of the last entry that is known; 0 = none
}

// Open finds the end of the log; an empty bucket is an empty log. It errs when the
// bucket cannot be listed, and when an object that is no entry lies among them.
func Open(ctx context.Context, o Options) (*Log, error) {
	l := &Log{api: o.API, bucket: o.Bucket, folder: "config/", patience: o.Patience, writing: make(chan struct{}, 1)}
	if prefix := strings.Trim(o.Prefix, "/"); prefix != "" {
		l.folder = prefix + "/" + l.folder
	}
	if l.patience <= 0 {
		l.patience = defaultPatience
	}
	last, err := l.last(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("config log: %w", err)
	}
	l.seq.Store(last)
	return l, nil
}

// Append writes an entry and returns when S3 has it; Seq is given by the log. Once
// it has begun it goes on when the caller leaves, as half of it cannot be undone. It
// errs with fault.StoreDown when the entry is not in the log, and says so when that
// could not be found out. A put that S3 received and did not answer in time may still
// work after it was looked for: then the log has a change that was reported as failed,
// and the next entry follows it.
func (l *Log) Append(ctx context.Context, e archive.Entry) error {
	if err := e.Check(); err != nil {
		return err
	}
	select {
	case l.writing <- struct{}{}:
	case <-ctx.Done():
		return unwritable(ctx.Err())
	}
	defer func() { <-l.writing }()
	if l.closed {
		return unwritable(errors.New("it is closed"))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
	defer cancel()
	return l.write(ctx, e, rand.Text())
}

// write puts the entry at the end of the log, wherever other writers have moved it.
func (l *Log) write(ctx context.Context, e archive.Entry, id string) error {
	e.Seq = l.seq.Load() + 1
	var before error // of the last attempt but one, as the last may only say that time was up
	for attempt := 0; ; attempt++ {
		body, err := json.Marshal(e)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "a config log entry cannot be encoded")
		}
		outcome, err := l.put(ctx, e.Seq, body, id)
		switch outcome {
		case written:
			l.seq.Store(e.Seq)
			return nil
		case taken:
			end, errList := l.last(ctx, e.Seq)
			if errList != nil {
				return unwritable(errList)
			}
			l.seq.Store(end)
			e.Seq = end + 1
		}
		if attempt == attempts-1 || final(err) || !pause(ctx, attempt) {
			return gaveUp(outcome, errors.Join(before, err))
		}
		before = err
	}
}

// pause waits before another attempt, longer each time and at random, so that
// writers which met once do not meet again. It is false when there is no time left.
func pause(ctx context.Context, attempt int) bool {
	longest := min(firstWait<<attempt, longestWait)
	timer := time.NewTimer(mathrand.N(longest)) //nolint:gosec // it spreads attempts; nothing hangs on its being guessed
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func gaveUp(o outcome, cause error) error {
	if o == unknown {
		return fault.Wrap(fault.StoreDown, cause,
			"the config log does not answer, and whether it has this change is not known; nothing else was changed, make the change again")
	}
	return unwritable(cause)
}

func unwritable(cause error) error {
	return fault.Wrap(fault.StoreDown, cause, "the config log cannot be written; nothing was changed")
}

// Close waits for a write that is under way and refuses further ones.
func (l *Log) Close() error {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	l.closed = true
	return nil
}
