// Package iam signs in to ElastiCache and MemoryDB with the role of the process in
// place of a password.
//
// The password is a token: the URL of a GET request for Action=connect, signed with
// Signature Version 4 in its query, without its scheme. Nobody sends that request;
// the server checks the signature and asks IAM whether the role may
// elasticache:Connect (memorydb:Connect) to this cache as this user. A token is good
// for 15 minutes and for signing in only, so each new connection gets one of its
// own; the server cuts the connection after 12 hours, before which the store ends
// it. The server needs TLS and version 7 or later, and in ElastiCache the user's id
// and name must be the same.
//
// Sources: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html,
// https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html, and class
// IAMAuthTokenRequest of https://github.com/aws-samples/elasticache-iam-auth-demo-app.
package iam

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/shared/fault"
)

// Service says what is signed in to: the token names it.
type Service string

// The services.
const (
	Serverless Service = "serverless" // a serverless cache of ElastiCache
	Nodes      Service = "nodes"      // a replication group of ElastiCache, which has nodes
	MemoryDB   Service = "memorydb"   // a cluster of MemoryDB
)

// Options say who signs in to what. All but Now are required.
type Options struct {
	Service Service
	// Cache is the name of the serverless cache, replication group or cluster, in
	// lower case as AWS keeps it; not the address of its endpoint.
	Cache  string
	User   string // name of the user, whose authentication mode is IAM
	Region string // of the cache
	// AWS gives the credentials of the role. It is asked for every new connection:
	// use one that caches, as aws.Config has.
	AWS aws.CredentialsProvider
	Now func() time.Time // nil = time.Now
}

const (
	scheme   = "http://"
	validFor = 15 * time.Minute
	// emptyBody is the SHA-256 of the request's body, which is empty.
	emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// names are what ElastiCache and MemoryDB accept as the name of a cache.
var names = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Credentials is a source of user and token for store.Options.Credentials, with a
// new token at every call. It errs with fault.Invalid when an option is missing or
// malformed, and as Options.AWS does. It is safe for concurrent use.
func Credentials(o Options) func(ctx context.Context) (user, password string, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	invalid := o.check()
	signer := v4.NewSigner()
	return func(ctx context.Context) (user, password string, err error) {
		if invalid != nil {
			return "", "", invalid
		}
		password, err = o.token(ctx, signer)
		return o.User, password, err
	}
}

func (o *Options) check() error {
	switch {
	case o.Service != Serverless && o.Service != Nodes && o.Service != MemoryDB:
		return fault.New(fault.Invalid, "IAM sign-in: the service is %q, want %s, %s or %s", o.Service, Serverless, Nodes, MemoryDB)
	case !names.MatchString(o.Cache):
		return fault.New(fault.Invalid, "IAM sign-in: the cache is %q, want its name in lower case and not its address, such as sluice-cache", o.Cache)
	case o.User == "":
		return fault.New(fault.Invalid, "IAM sign-in: the user is empty, want the name of a user whose authentication mode is IAM")
	case o.Region == "":
		return fault.New(fault.Invalid, "IAM sign-in: the region is empty, want that of the cache, such as eu-central-1")
	case o.AWS == nil:
		return fault.New(fault.Invalid, "IAM sign-in: there is no source of AWS credentials")
	}
	return nil
}

// token is the signed request without its scheme.
func (o *Options) token(ctx context.Context, signer *v4.Signer) (string, error) {
	credentials, err := o.AWS.Retrieve(ctx)
	if err != nil {
		return "", fmt.Errorf("IAM sign-in to %s: no AWS credentials: %w", o.Cache, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+o.Cache+"/?"+o.query().Encode(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("IAM sign-in to %s: %w", o.Cache, err)
	}
	signed, _, err := signer.PresignHTTP(ctx, credentials, r, emptyBody, o.signingName(), o.Region, o.Now())
	if err != nil {
		return "", fmt.Errorf("IAM sign-in to %s: %w", o.Cache, err)
	}
	return strings.TrimPrefix(signed, scheme), nil
}

func (o *Options) query() url.Values {
	query := url.Values{
		"Action":        {"connect"},
		"User":          {o.User},
		"X-Amz-Expires": {strconv.Itoa(int(validFor / time.Second))},
	}
	if o.Service == Serverless {
		query.Set("ResourceType", "ServerlessCache")
	}
	return query
}

func (o *Options) signingName() string {
	if o.Service == MemoryDB {
		return "memorydb"
	}
	return "elasticache"
}
