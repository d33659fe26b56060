package s3log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"sluice/shared/archive"
)

// readers is how many objects are read at once: one after another, a long log would
// take hours. The SDK's HTTP client keeps 10 connections to a host; more readers
// would open a new one for most objects.
const readers = 10

// Replay calls fn with every entry in order, as they were when it began, until fn
// errs; the error is returned. It errs when an entry is missing or damaged, naming
// its object, after it has given those before.
func (l *Log) Replay(ctx context.Context, fn func(archive.Entry) error) error {
	end, err := l.last(ctx, l.seq.Load())
	if err != nil {
		return fmt.Errorf("config log: %w", err)
	}
	for done := int64(0); done < end; {
		numbers, _, err := l.page(ctx, done)
		if err != nil {
			return fmt.Errorf("config log: %w", err)
		}
		whole := unbroken(numbers, done, end)
		if len(whole) == 0 {
			return fmt.Errorf("config log: %w", l.missing(done+1))
		}
		for chunk := range slices.Chunk(whole, readers) {
			if err := l.deliver(ctx, chunk, fn); err != nil {
				return err
			}
		}
		done = whole[len(whole)-1]
	}
	return nil
}

// unbroken is how far the numbers count on from done, at most to end.
func unbroken(numbers []int64, done, end int64) []int64 {
	for i, n := range numbers {
		if n != done+int64(i)+1 || n > end {
			return numbers[:i]
		}
	}
	return numbers
}

// deliver reads some entries at once and gives them in order.
func (l *Log) deliver(ctx context.Context, numbers []int64, fn func(archive.Entry) error) error {
	entries, errs := make([]archive.Entry, len(numbers)), make([]error, len(numbers))
	var wg sync.WaitGroup
	for i, n := range numbers {
		wg.Go(func() { entries[i], errs[i] = l.read(ctx, n) })
	}
	wg.Wait()
	for i := range entries {
		if err := errors.Join(ctx.Err(), errs[i]); err != nil {
			return fmt.Errorf("config log: %w", err)
		}
		if err := fn(entries[i]); err != nil {
			return err
		}
	}
	return nil
}
