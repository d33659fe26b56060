package iam_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"sluice/shared/fault"
	"sluice/shared/store/iam"
)

const (
	accessKey = "test-id"
	secretKey = "test-key"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func provider(session string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: session}, nil
	})
}

// options are complete, for the given service.
func options(s iam.Service) iam.Options {
	return iam.Options{
		Service: s, Cache: "sluice-cache", User: "sluice-user", Region: "eu-central-1",
		AWS: provider(""), Now: func() time.Time { return start },
	}
}

func TestToken(t *testing.T) {
	session := options(iam.Serverless)
	session.AWS = provider("test/session+token=")
	const common = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test-id%2F20260102%2Feu-central-1%2F"
	for name, tt := range map[string]struct {
		o       iam.Options
		service string
		want    string
	}{
		"serverless": {options(iam.Serverless), "elasticache", "sluice-cache/?Action=connect&ResourceType=ServerlessCache&User=sluice-user&" +
			common + "elasticache%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature="},
		"nodes": {options(iam.Nodes), "elasticache", "sluice-cache/?Action=connect&User=sluice-user&" +
			common + "elasticache%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature="},
		"memorydb": {options(iam.MemoryDB), "memorydb", "sluice-cache/?Action=connect&User=sluice-user&" +
			common + "memorydb%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature="},
		"a role": {session, "elasticache", "sluice-cache/?Action=connect&ResourceType=ServerlessCache&User=sluice-user&" +
			common + "elasticache%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-Security-Token=test%2Fsession%2Btoken%3D&X-Amz-SignedHeaders=host&X-Amz-Signature="},
	} {
		t.Run(name, func(t *testing.T) {
			user, token, err := iam.Credentials(tt.o)(t.Context())
			if err != nil || user != "sluice-user" {
				t.Fatalf("user %q, %v", user, err)
			}
			unsigned, signature, _ := strings.Cut(token, "X-Amz-Signature=")
			if unsigned+"X-Amz-Signature=" != tt.want {
				t.Errorf("token\n%s\nwant\n%s…", token, tt.want)
			}
			if want := sign(t, token, tt.service); signature != want {
				t.Errorf("signature %s, want %s", signature, want)
			}
		})
	}
}

// sign computes the signature of a token as its receiver does, from nothing but the
// text and the secret key
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html).
func sign(t *testing.T, token, service string) string {
	t.Helper()
	host, query, ok := strings.Cut(token, "/?")
	if !ok {
		t.Fatalf("token %q has no query", token)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	pairs := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool { return strings.HasPrefix(p, "X-Amz-Signature=") })
	slices.Sort(pairs)
	emptyBody := sha256.Sum256(nil)
	canonical := strings.Join([]string{
		"GET", "/", strings.Join(pairs, "&"), "host:" + host + "\n", "host", hex.EncodeToString(emptyBody[:]),
	}, "\n")
	hashed := sha256.Sum256([]byte(canonical))
	date := values.Get("X-Amz-Date")
	scope := []string{date[:8], "eu-central-1", service, "aws4_request"}
	if want := accessKey + "/" + strings.Join(scope, "/"); values.Get("X-Amz-Credential") != want {
		t.Errorf("credential %q, want %q", values.Get("X-Amz-Credential"), want)
	}
	key := []byte("AWS4" + secretKey)
	for _, part := range scope {
		key = mac(key, part)
	}
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope, "/"), hex.EncodeToString(hashed[:])}, "\n")
	return hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*iam.Options){
		`service is "redis"`:                func(o *iam.Options) { o.Service = "redis" },
		`cache is "Sluice-Cache"`:           func(o *iam.Options) { o.Cache = "Sluice-Cache" },
		`cache is "cache.example:6379"`:     func(o *iam.Options) { o.Cache = "cache.example:6379" },
		`cache is ""`:                       func(o *iam.Options) { o.Cache = "" },
		"the user is empty":                 func(o *iam.Options) { o.User = "" },
		"the region is empty":               func(o *iam.Options) { o.Region = "" },
		"there is no source of AWS credent": func(o *iam.Options) { o.AWS = nil },
	} {
		o := options(iam.Nodes)
		change(&o)
		_, token, err := iam.Credentials(o)(t.Context())
		if token != "" || err == nil || fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("token %q, %v; want %q", token, err, want)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	expired := errors.New("the role's credentials are expired")
	o := options(iam.Nodes)
	o.AWS = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, expired })
	if _, token, err := iam.Credentials(o)(t.Context()); token != "" || !errors.Is(err, expired) {
		t.Errorf("token %q, %v", token, err)
	}
}

func BenchmarkCredentials(b *testing.B) {
	credentials := iam.Credentials(options(iam.Serverless))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := credentials(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
