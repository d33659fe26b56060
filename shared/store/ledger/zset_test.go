package ledger_test

import "github.com/redis/go-redis/v9"

func zero(member string) redis.Z { return redis.Z{Score: 0, Member: member} }
