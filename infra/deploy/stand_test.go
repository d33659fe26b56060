package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"sluice/infra/image"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	account  = "111122223333"
	password = "test-password"
)

// stand stands in for STS, SSM and ECR, in their own protocols.
type stand struct {
	url string

	mu           sync.Mutex
	version      string          // of the bootstrap stack; "" = there is none
	refuse       map[string]bool // operations that are refused
	token        string          // of ECR
	asked        []string        // operations, with the access key that signed
	expectedRole string          // ARN that may be assumed
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{
		version: "26", refuse: map[string]bool{},
		token:        base64.StdEncoding.EncodeToString([]byte("AWS:" + password)),
		expectedRole: "arn:aws:iam::" + account + ":role/cdk-hnb659fds-image-publishing-role-" + account + "-eu-west-1",
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	operation := r.FormValue("Action") // STS; the others name it in a header
	if _, after, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		operation = after
	}
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ = strings.Cut(key, "/")
	s.asked = append(s.asked, operation+" by "+key)
	switch {
	case s.refuse[operation+" by "+key] || operation == "AssumeRole" && r.FormValue("RoleArn") != s.expectedRole:
		s.denied(w, r)
	case operation == "GetCallerIdentity":
		fmt.Fprintf(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::%s:user/test</Arn><UserId>test</UserId><Account>%[1]s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, account)
	case operation == "AssumeRole":
		fmt.Fprint(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>role-key</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>role-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	case operation == "GetParameter" && s.version == "":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"ParameterNotFound"}`)
	case operation == "GetParameter":
		fmt.Fprintf(w, `{"Parameter":{"Name":"/cdk-bootstrap/hnb659fds/version","Type":"String","Value":%q}}`, s.version)
	case operation == "GetAuthorizationToken":
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":4070908800}]}`, s.token)
	default:
		http.Error(w, "unknown operation "+operation, http.StatusNotImplemented)
	}
}

// denied is a refusal whose message tells what was signed, as that of a wrong
// signature does.
func (s *stand) denied(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusForbidden)
	message := "the canonical string was x-amz-security-token:" + r.Header.Get("X-Amz-Security-Token")
	if r.Header.Get("X-Amz-Target") != "" {
		fmt.Fprintf(w, `{"__type":"AccessDeniedException","message":%q}`, message)
		return
	}
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>%s</Message></Error></ErrorResponse>`, message)
}

// printed is a tool with what it wrote.
type printed struct {
	*tool
	out, err strings.Builder
	ran      []string // commands
}

// newTool is the command in front of a stand-in, with the credentials test-key, in
// eu-west-1, with Node.js 22.
func newTool(t *testing.T, s *stand) *printed {
	t.Helper()
	p := &printed{}
	module := filepath.Join(t.TempDir(), "go.mod")
	if err := os.WriteFile(module, []byte("module sluice\n\ngo 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.tool = &tool{
		in: strings.NewReader(""), out: &p.out, err: &p.err, module: module,
		aws: func(_ context.Context, region string) (*session, error) {
			if region == "" {
				region = "eu-west-1"
			}
			return s.session(region, credentials.NewStaticCredentialsProvider("test-key", "test-secret", "test-session")), nil
		},
		run: func(cmd *exec.Cmd) error {
			p.ran = append(p.ran, strings.Join(cmd.Args, " "))
			if cmd.Args[0] != "node" {
				return nil
			}
			_, err := io.WriteString(cmd.Stdout, "v22.23.3\n")
			return err
		},
		reference: image.Reference,
	}
	return p
}

func (s *stand) session(region string, c aws.CredentialsProvider) *session {
	return newSession(aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(s.url),
		Credentials:  c,
		HTTPClient:   http.DefaultClient,
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	})
}

// do runs the tool, and compares code and output with a golden file.
func (p *printed) do(t *testing.T, name string, code int, args ...string) {
	t.Helper()
	if got := p.main(context.Background(), args); got != code {
		t.Errorf("%v ended with %d, want %d", args, got, code)
	}
	text := p.out.String()
	if p.err.Len() > 0 {
		text += "\n-- standard error --\n" + p.err.String()
	}
	for _, secret := range []string{password, "test-secret", "test-session", "role-secret", "role-session"} {
		if strings.Contains(text, secret) {
			t.Errorf("%v prints the secret %s", args, secret)
		}
	}
	golden(t, name, strings.ReplaceAll(text, runtime.Version(), "GO"))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it); got:\n%s", path, got)
	}
}

var errNone = errors.New("no credentials were found")

// none are credentials that are not there.
func none(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errNone }
