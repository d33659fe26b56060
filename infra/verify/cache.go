package main

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorytypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
)

// iam is the authentication type of a user who signs in with IAM, the same word in
// both services: ElastiCache API_Authentication and MemoryDB API_Authentication.
const iam = "iam"

// elastiCache reads the users of ElastiCache.
type elastiCache interface {
	DescribeUsers(ctx context.Context, in *elasticache.DescribeUsersInput, o ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error)
}

// memoryDB reads the users of MemoryDB.
type memoryDB interface {
	DescribeUsers(ctx context.Context, in *memorydb.DescribeUsersInput, o ...func(*memorydb.Options)) (*memorydb.DescribeUsersOutput, error)
}

// storeUser asks AWS how the store's user authenticates. With signing in, which is
// answered from the store, that is IAM authentication from end to end.
func (s *suite) storeUser(ctx context.Context) finding {
	switch {
	case s.target.rehearsal():
		return skip("a rehearsal has no ElastiCache")
	case s.target.cacheUser == "":
		return skip("the stack has no output CacheUser")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	user := s.target.cacheUser
	kind, err := s.authentication(ctx, user)
	switch {
	case err != nil:
		return skip("reading the user %s: %v", user, err)
	case kind == "":
		return fails("there is no user %s", user)
	case kind != iam:
		return fails("the user %s authenticates by %q, not by IAM", user, kind)
	case !s.signedIn:
		return skip("the user %s authenticates by IAM, but there was no signing in that shows that it works", user)
	}
	return works("the user %s authenticates by IAM, and the deployment reads its store", user)
}

// authentication is the authentication type of a user, "" if there is no such user.
func (s *suite) authentication(ctx context.Context, user string) (string, error) {
	if s.target.cacheKind == "memorydb" {
		out, err := s.cloud.memoryDB.DescribeUsers(ctx, &memorydb.DescribeUsersInput{UserName: &user})
		if _, none := errors.AsType[*memorytypes.UserNotFoundFault](err); none {
			return "", nil
		}
		if err != nil || len(out.Users) == 0 || out.Users[0].Authentication == nil {
			return "", err
		}
		return string(out.Users[0].Authentication.Type), nil
	}
	out, err := s.cloud.elastiCache.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &user})
	if _, none := errors.AsType[*cachetypes.UserNotFoundFault](err); none {
		return "", nil
	}
	if err != nil || len(out.Users) == 0 || out.Users[0].Authentication == nil {
		return "", err
	}
	return string(out.Users[0].Authentication.Type), nil
}
