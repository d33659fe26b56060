package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"sluice/shared/cloud/cloudtest"
	"sluice/shared/vault"
	"sluice/shared/vault/awskms"
)

const (
	key   = cloudtest.Key
	other = cloudtest.OtherKey
)

var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: cloudtest.AccessKeyID, SecretAccessKey: cloudtest.SecretKey}, nil
})

// open starts a stand-in and returns a client of it that does not try again.
func open(t testing.TB) (*cloudtest.KMS, *kms.Client) {
	t.Helper()
	cloud := cloudtest.Start(t)
	return cloud.KMS, clientAt(cloud.URL)
}

func clientAt(url string) *kms.Client {
	return kms.New(kms.Options{
		Region: cloudtest.Region, BaseEndpoint: aws.String(url), Credentials: credentials,
		HTTPClient: http.DefaultClient, Retryer: aws.NopRetryer{},
	})
}

func TestWrapUnwrap(t *testing.T) {
	s, client := open(t)
	w := awskms.New(client, key)
	plain := bytes.Repeat([]byte{7}, 32)
	wrapped, err := w.Wrap(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, plain) {
		t.Error("the wrapped key holds the plain one")
	}
	got, err := w.Unwrap(t.Context(), wrapped)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("Unwrap = %x, %v", got, err)
	}
	binding := map[string]string{"sluice": "data-key"}
	want := []cloudtest.KMSRequest{
		{Action: "Encrypt", KeyID: key, EncryptionContext: binding},
		{Action: "Decrypt", KeyID: key, EncryptionContext: binding},
	}
	if diff := cmp.Diff(want, s.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestTheVaultSealsUnderIt(t *testing.T) {
	s, client := open(t)
	v := vault.New(vault.Options{Wrapper: awskms.New(client, key)})
	sealed, err := v.Seal(t.Context(), []byte("test-secret"), "acct_1")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		plain, err := v.Open(t.Context(), sealed, "acct_1")
		if err != nil || string(plain) != "test-secret" {
			t.Fatalf("Open = %q, %v", plain, err)
		}
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests for one sealing and three openings, want 2", n)
	}
	elsewhere := vault.New(vault.Options{Wrapper: awskms.New(client, other)})
	if _, err := elsewhere.Open(t.Context(), sealed, "acct_1"); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("Open under another key = %v, want ErrSealed", err)
	}
}

func TestUnwrapRefuses(t *testing.T) {
	s, client := open(t)
	w := awskms.New(client, key)
	wrapped, err := w.Wrap(t.Context(), []byte("a data key"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(wrapped)
	changed[len(changed)-1] ^= 1
	for name, tt := range map[string]struct {
		w       *awskms.Wrapper
		wrapped []byte
	}{
		"changed":             {w, changed},
		"cut":                 {w, wrapped[:len(wrapped)-1]},
		"nothing KMS made":    {w, []byte("x")},
		"another key":         {awskms.New(client, other), wrapped},
		"for another purpose": {w, s.Encrypt(key, map[string]string{"sluice": "other"}, []byte("x"))},
		"for no purpose":      {w, s.Encrypt(key, nil, []byte("x"))},
	} {
		if plain, err := tt.w.Unwrap(t.Context(), tt.wrapped); !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%s: Unwrap = %q, %v; want ErrSealed", name, plain, err)
		}
	}
}

// Each refusal names the key and what to look at, and none is taken for a
// ciphertext that does not open: the account it belongs to is not to be set again.
func TestRefusalsSayWhatToLookAt(t *testing.T) {
	s, client := open(t)
	w := awskms.New(client, key)
	wrapped, err := w.Wrap(t.Context(), []byte("plain-data-key"))
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"DisabledException":           "enable it",
		"KMSInvalidStateException":    "scheduled for deletion",
		"NotFoundException":           "region",
		"InvalidKeyUsageException":    "symmetric",
		"AccessDeniedException":       "kms:EncryptionContext:sluice = data-key",
		"UnrecognizedClientException": "credentials",
		"ExpiredTokenException":       "credentials",
		"KMSInternalException":        "health",
		"ThrottlingException":         "health",
	} {
		s.Refuse(code)
		_, errUnwrap := w.Unwrap(t.Context(), wrapped)
		_, errWrap := w.Wrap(t.Context(), []byte("plain-data-key"))
		for action, err := range map[string]error{"Decrypt": errUnwrap, "Encrypt": errWrap} {
			if err == nil || errors.Is(err, vault.ErrSealed) {
				t.Errorf("%s at %s: %v", code, action, err)
				continue
			}
			for _, part := range []string{want, key, code, action} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s at %s: %v; want %q in it", code, action, err, part)
				}
			}
			if strings.Contains(err.Error(), "plain-data-key") {
				t.Errorf("%s at %s tells the data key: %v", code, action, err)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	w := awskms.New(clientAt(server.URL), key)
	if _, err := w.Unwrap(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "could not be reached") || errors.Is(err, vault.ErrSealed) {
		t.Errorf("Unwrap = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Wrap(ctx, []byte("x")); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "could not be reached") {
		t.Errorf("Wrap of a caller that left = %v", err)
	}
}
