package s3log

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// pageSize is how many names S3 lists at once at most.
const pageSize = 1000

// last is the number of the last entry, of which none before number from is asked
// for; from is 0 or an entry that is there.
//
// It asks "what comes after n?", which S3 answers for any n, first for n that double
// and then for n that halve what is left: a million entries take about 20 listings,
// where paging through them takes 1,000. Asking for single objects instead
// (HeadObject) would mistake a gap for the end and write into it; names that sort
// backwards would find the end at once, but every reader of the bucket, people
// included, would have to know.
func (l *Log) last(ctx context.Context, from int64) (int64, error) {
	low, high := from, int64(lastNumber) // entry low is there, after high there is none
	step := int64(pageSize)
	bounded := false
	for at := low; ; {
		numbers, more, err := l.page(ctx, at)
		switch {
		case err != nil:
			return 0, err
		case len(numbers) > 0 && !more:
			return numbers[len(numbers)-1], nil
		case len(numbers) > 0:
			low = numbers[len(numbers)-1]
		case at == low:
			return low, nil
		default:
			high, bounded = at, true
		}
		switch {
		case high-low <= pageSize:
			at = low
		case bounded:
			at = low + (high-low)/2
		default:
			at = min(low+step, high)
			step *= 2
		}
	}
}

// page lists the numbers of up to pageSize entries after a number, and whether there
// are more.
func (l *Log) page(ctx context.Context, after int64) (numbers []int64, more bool, err error) {
	out, err := l.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: aws.String(l.bucket), Prefix: aws.String(l.folder), StartAfter: aws.String(l.key(after)),
		MaxKeys: aws.Int32(pageSize),
	})
	if err != nil {
		return nil, false, fmt.Errorf("list what is after %w", l.explain(after, err))
	}
	numbers = make([]int64, 0, len(out.Contents))
	for _, object := range out.Contents {
		n, err := l.number(aws.ToString(object.Key))
		if err != nil {
			return nil, false, err
		}
		numbers = append(numbers, n)
	}
	return numbers, aws.ToBool(out.IsTruncated), nil
}
