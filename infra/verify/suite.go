package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
)

// cloud is AWS as far as the checks ask it.
type cloud struct {
	elastiCache elastiCache
	memoryDB    memoryDB
	services    services
	functions   functions
}

func newCloud(c aws.Config) *cloud {
	return &cloud{
		elastiCache: elasticache.NewFromConfig(c), memoryDB: memorydb.NewFromConfig(c),
		services: ecs.NewFromConfig(c), functions: lambda.NewFromConfig(c),
	}
}

// options are what the caller chose.
type options struct {
	model       string
	bodyLimit   int64         // bytes; a larger request body must be refused
	patience    time.Duration // longest wait for what must come about
	every       time.Duration // pause between looks
	drainTokens int           // length of the answer that a deployment may not cut off
	confirm     func(ctx context.Context, question string) bool
}

// suite makes the checks in their order and keeps what one needs of another.
type suite struct {
	target *deployment
	client *client
	cloud  *cloud // nil in a rehearsal
	o      options
	report *report

	reached  reached
	signedIn bool
	accounts []account
	key      *key
	left     []string // what could not be removed
	answers  int      // streams that ended whole
	trials   int      // tests of accounts
}

// check is a check and its name in the report.
type check struct {
	name string
	make func(context.Context) finding
}

func (s *suite) checks() []check {
	return []check{
		{"reach", s.reach}, {"certificate", s.certificate}, {"http/2", s.http2},
		{"sign-in", s.signIn}, {"store user", s.storeUser}, {"key", s.makeKey},
		{"streaming", s.streaming}, {"usage", s.usage}, {"body limit", s.bodyLimit},
		{s.accountsName(), s.tryAccounts}, {"sweep", s.sweep}, {"drain", s.drain},
	}
}

// run makes every check, and removes what they made whatever became of them: also
// when ctx ends, which is how the program is interrupted. It returns the exit code.
func (s *suite) run(ctx context.Context) int {
	s.report.line("%s", s.target.title())
	for _, c := range s.checks() {
		f := finding{}
		if ctx.Err() == nil {
			f = c.make(ctx)
		}
		if ctx.Err() != nil && f.outcome != yes { // what failed then, failed by the interruption
			f = skip("interrupted")
		}
		s.report.add(c.name, f)
	}
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	b := s.bill(ctx, interrupted)
	s.report.add("key removed", s.removeKey(ctx, interrupted))
	s.report.close(b, s.left)
	return s.report.code(interrupted)
}

// until looks until ok, and says whether that came about within the patience.
func (s *suite) until(ctx context.Context, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, s.o.patience)
	defer cancel()
	tick := time.NewTicker(s.o.every)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
