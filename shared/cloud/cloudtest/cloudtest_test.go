package cloudtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/cloud/cloudtest"
)

// judge notes what a stand-in holds against a request.
type judge struct {
	testing.TB
	said []string
}

func (j *judge) Errorf(format string, args ...any) {
	j.said = append(j.said, fmt.Sprintf(format, args...))
}

func (j *judge) Helper() {}

// TestWhatNoServiceWouldTake holds the stand-in to its word: a client that sends
// this fails its test.
func TestWhatNoServiceWouldTake(t *testing.T) {
	const typ = "application/x-amz-json-1.1"
	scope := func(service string) string {
		return "AWS4-HMAC-SHA256 Credential=test-id/20260101/" + cloudtest.Region + "/" + service + "/aws4_request"
	}
	for name, tt := range map[string]struct {
		method, path, target, auth, typ, body, want string
	}{
		"not signed":            {"GET", "/test-bucket/a", "", "", "", "", "is not signed for s3"},
		"for another service":   {"POST", "/", "TrentService.Encrypt", scope("s3"), typ, "{}", "is not signed for kms"},
		"another type":          {"POST", "/", "TrentService.Encrypt", scope("kms"), "text/plain", "{}", "its type is text/plain"},
		"another action of KMS": {"POST", "/", "TrentService.Sign", scope("kms"), typ, `{"KeyId":"` + cloudtest.Key + `"}`, "no such action here: Sign"},
		"another action":        {"POST", "/", "secretsmanager.PutSecretValue", scope("secretsmanager"), typ, "{}", "no such action here: PutSecretValue"},
		"another service":       {"POST", "/", "DynamoDB.GetItem", scope("dynamodb"), typ, "{}", "not here: DynamoDB.GetItem"},
		"no JSON":               {"POST", "/", "secretsmanager.GetSecretValue", scope("secretsmanager"), typ, "{", "unexpected end of JSON"},
		"PUT without condition": {"PUT", "/test-bucket/a", "", scope("s3"), "", "{}", "PUT a without its condition"},
		"the old listing":       {"GET", "/test-bucket/?max-keys=3", "", scope("s3"), "", "", "no ListObjectsV2"},
		"a listing of all":      {"GET", "/test-bucket/?list-type=2", "", scope("s3"), "", "", "no ListObjectsV2"},
		"as it should be":       {"GET", "/test-bucket/?list-type=2&max-keys=3", "", scope("s3"), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judge{TB: t}
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			for name, value := range map[string]string{"X-Amz-Target": tt.target, "Authorization": tt.auth, "Content-Type": tt.typ} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			cloudtest.New(j).ServeHTTP(httptest.NewRecorder(), r)
			if said := strings.Join(j.said, "\n"); tt.want == "" && said != "" || !strings.Contains(said, tt.want) {
				t.Errorf("it says %q, want %q", said, tt.want)
			}
		})
	}
}

func TestAnotherBucket(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/somebodys-bucket/?list-type=2&max-keys=3", nil)
	r.Header.Set("Authorization", "Credential=test-id/20260101/"+cloudtest.Region+"/s3/aws4_request")
	w := httptest.NewRecorder()
	cloudtest.New(t).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "NoSuchBucket") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
