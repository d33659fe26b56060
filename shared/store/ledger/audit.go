package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/store"
)

// auditPage is how many keys one step of a scan looks at.
const auditPage = 1000

// Audit holds what every owner has held against its open calls and repairs what
// differs. It says how many owners that were, each of which it logs: there should
// be none. It reads every key there is, so it is for a job, and errs with
// fault.StoreDown.
func (s *Sweeper) Audit(ctx context.Context) (repaired int, err error) {
	var mine error
	err = s.ledger.client.EachNode(ctx, func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, store.Balances, auditPage).Result()
			if err != nil {
				return store.Fault(err)
			}
			n, err := s.audit(ctx, keys)
			repaired += n
			mine = errors.Join(mine, err)
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	return repaired, errors.Join(err, mine)
}

func (s *Sweeper) audit(ctx context.Context, balances []string) (repaired int, err error) {
	calls := make([]store.Call, 0, len(balances))
	owners := make([]string, 0, len(balances))
	for _, key := range balances {
		partition, owner, ok := store.OwnerOf(key)
		if !ok || partition >= admission.Partitions {
			err = errors.Join(err, fmt.Errorf("ledger: %q is no balance", key))
			continue
		}
		owners = append(owners, owner)
		calls = append(calls, store.Call{Script: s.ledger.audit, Keys: []string{store.Intents(partition), key}, Args: []any{owner}})
	}
	for i, r := range s.ledger.client.RunAll(ctx, calls...) {
		if r.Err != nil {
			err = errors.Join(err, r.Err)
			continue
		}
		if wrong := list(r.Value); len(wrong) > 0 {
			repaired++
			s.log.ErrorContext(ctx, "what an owner has held was not what its open calls hold; repaired", "owner", owners[i], "was", texts(wrong))
		}
	}
	return repaired, err
}

func texts(items []any) string {
	all := make([]string, len(items))
	for i, v := range items {
		all[i] = fmt.Sprint(v)
	}
	return strings.Join(all, " ")
}
