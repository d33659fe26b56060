package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// region is that of the stand-in.
const region = "eu-central-1"

// amazon stands in for AWS: it speaks the protocols of the services over loopback.
type amazon struct {
	outputs map[string]string // of the stack; nil = there is no stack
	token   string            // the secret
	iamType string            // authentication type of the store's user; "" = there is none
	sweep   string            // the function's error; "" = it works, "missing", "forbidden"
	stuck   bool              // a deployment replaces no task
	refused bool              // deployments are forbidden

	mu       sync.Mutex
	deployed int      // times that tasks were listed since the deployment
	forced   bool     // a deployment was forced
	asked    []string // what was asked, in order
	payload  []byte   // of the invocation
}

// service is the service that a request is signed for.
var service = regexp.MustCompile(`Credential=[^/]+/\d+/[a-z0-9-]+/([a-z]+)/aws4_request`)

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	found := service.FindStringSubmatch(r.Header.Get("Authorization"))
	if err != nil || found == nil {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	switch found[1] {
	case "cloudformation":
		a.query(w, body, map[string]func(url.Values) (int, string){"DescribeStacks": a.describeStacks})
	case "elasticache":
		a.query(w, body, map[string]func(url.Values) (int, string){"DescribeUsers": a.describeUsers})
	case "lambda":
		a.invoke(w, r, body)
	default:
		a.json(w, r.Header.Get("X-Amz-Target"), body)
	}
}

// query answers the query protocol.
func (a *amazon) query(w http.ResponseWriter, body []byte, actions map[string]func(url.Values) (int, string)) {
	form, err := url.ParseQuery(string(body))
	if err != nil || actions[form.Get("Action")] == nil {
		http.Error(w, "no such action", http.StatusBadRequest)
		return
	}
	a.asked = append(a.asked, form.Get("Action"))
	status, answer := actions[form.Get("Action")](form)
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer) // the SDK reports what does not arrive
}

func queryError(code, message string) (int, string) {
	return http.StatusBadRequest, fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
}

func (a *amazon) describeStacks(form url.Values) (int, string) {
	if a.outputs == nil {
		return queryError("ValidationError", "Stack with id "+form.Get("StackName")+" does not exist")
	}
	var members strings.Builder
	for name, value := range a.outputs {
		fmt.Fprintf(&members, "<member><OutputKey>%s</OutputKey><OutputValue>%s</OutputValue></member>", name, value)
	}
	return http.StatusOK, fmt.Sprintf(`<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>%s</StackName>
		<StackStatus>CREATE_COMPLETE</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>
		<Outputs>%s</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>`, form.Get("StackName"), members.String())
}

func (a *amazon) describeUsers(form url.Values) (int, string) {
	if a.iamType == "" {
		return queryError("UserNotFound", "User "+form.Get("UserId")+" not found")
	}
	return http.StatusOK, fmt.Sprintf(`<DescribeUsersResponse><DescribeUsersResult><Users><member><UserId>%s</UserId>
		<Authentication><Type>%s</Type></Authentication></member></Users></DescribeUsersResult></DescribeUsersResponse>`, form.Get("UserId"), a.iamType)
}

// json answers the JSON protocol.
func (a *amazon) json(w http.ResponseWriter, target string, body []byte) {
	_, action, _ := strings.Cut(target, ".")
	a.asked = append(a.asked, action)
	var in struct{ SecretId, UserName, Cluster, Service, ServiceName string }
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status, answer := http.StatusOK, any(nil)
	switch {
	case action == "GetSecretValue":
		answer = map[string]any{"ARN": in.SecretId, "SecretString": a.token}
	case action == "DescribeUsers" && a.iamType == "":
		status, answer = http.StatusBadRequest, map[string]any{"__type": "UserNotFoundFault", "message": "not found"}
	case action == "DescribeUsers":
		answer = map[string]any{"Users": []any{map[string]any{"Name": in.UserName, "Authentication": map[string]any{"Type": a.iamType}}}}
	case action == "ListTasks":
		answer = map[string]any{"taskArns": a.tasks()}
	case action == "UpdateService" && a.refused:
		status, answer = http.StatusBadRequest, map[string]any{"__type": "AccessDeniedException", "message": "not authorized to perform ecs:UpdateService"}
	case action == "UpdateService":
		a.forced = in.Service == "relay" && in.Cluster == "sluice" && strings.Contains(string(body), `"forceNewDeployment":true`)
		answer = map[string]any{"service": map[string]any{"serviceName": in.Service}}
	default:
		status, answer = http.StatusBadRequest, map[string]any{"__type": "UnknownOperationException"}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the SDK reports what does not arrive
}

// tasks are those that shall run: the new ones come before the old ones go.
func (a *amazon) tasks() []string {
	before, after := []string{"task/old-1", "task/old-2"}, []string{"task/new-1", "task/new-2"}
	if !a.forced || a.stuck {
		return before
	}
	switch a.deployed++; a.deployed {
	case 1:
		return append(before, after...)
	case 2:
		return append(before[:1], after...)
	}
	return after
}

func (a *amazon) invoke(w http.ResponseWriter, r *http.Request, body []byte) {
	a.asked, a.payload = append(a.asked, r.URL.Path), body
	w.Header().Set("Content-Type", "application/json")
	switch a.sweep {
	case "":
		_, _ = io.WriteString(w, "null")
	case "missing":
		w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"Message":"Function not found"}`)
	case "forbidden":
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"Message":"not authorized"}`)
	default:
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		_ = json.NewEncoder(w).Encode(map[string]string{"errorMessage": a.sweep})
	}
}

// did says whether an action was asked for.
func (a *amazon) did(action string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.asked, action)
}

// standIn is an AWS in which all is well with a deployment.
func standIn(endpoint, host string) *amazon {
	a := &amazon{token: adminToken, iamType: "iam", outputs: map[string]string{
		"Endpoint": endpoint, "Host": host, "Profile": "small", "CacheUser": "sluice", "CacheKind": "serverless", "SweepFunction": "sweep",
		"AdminTokenSecret": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:admin",
	}}
	if host == onFargate {
		a.outputs["Cluster"], a.outputs["Service"] = "sluice", "relay"
	}
	return a
}

// against makes a program that asks the stand-in for AWS.
func (a *amazon) against(t *testing.T) program {
	t.Helper()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	return program{config: func(_ context.Context, named string) (aws.Config, error) {
		return aws.Config{
			Region: named, BaseEndpoint: aws.String(srv.URL), HTTPClient: srv.Client(),
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "test-key", SecretAccessKey: "test-key"}, nil
			}),
		}, nil
	}}
}
