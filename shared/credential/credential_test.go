package credential_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/credential"
	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
	"sluice/shared/vault"
)

const (
	testKey   = "test-key"
	testProxy = "http://user:test-password@proxy.example:3128"
)

func newVault(t testing.TB) *vault.Vault {
	t.Helper()
	l, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return vault.New(vault.Options{Wrapper: l})
}

func value(text string) *secret.Value {
	v := secret.New(text)
	return &v
}

func account(t testing.TB, s *credential.Source) pool.Account {
	t.Helper()
	a := pool.Account{
		ID: "acct_1", Name: "first", Provider: "compatible", Auth: provider.Bearer,
		BaseURL: "https://vendor.example", Region: "eu-west-1",
	}
	reseal(t, s, &a, value(testKey), value(testProxy))
	return a
}

func reseal(t testing.TB, s *credential.Source, a *pool.Account, key, proxy *secret.Value) {
	t.Helper()
	sealed, err := s.Seal(t.Context(), *a, key, proxy)
	if err != nil {
		t.Fatal(err)
	}
	a.Sealed = sealed
}

func TestFor(t *testing.T) {
	s := credential.New(newVault(t))
	a := account(t, s)
	got, proxy, err := s.For(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	want := provider.Account{
		ID: a.ID, BaseURL: a.BaseURL, Region: a.Region, Auth: provider.Bearer, Secret: secret.New(testKey),
	}
	if got != want || proxy.Reveal() != testProxy {
		t.Errorf("For = %+v with key %q, proxy %q", got, got.Secret.Reveal(), proxy.Reveal())
	}
}

func TestSealKeepsWhatIsNotNew(t *testing.T) {
	s := credential.New(newVault(t))
	for _, tt := range []struct {
		name               string
		key, proxy         *secret.Value
		wantKey, wantProxy string
	}{
		{"nothing", nil, nil, testKey, testProxy},
		{"a new key", value("test-key-2"), nil, "test-key-2", testProxy},
		{"a new proxy", nil, value("socks5://proxy.example"), testKey, "socks5://proxy.example"},
		{"no proxy any more", nil, value(""), testKey, ""},
		{"both", value("test-key-2"), value(""), "test-key-2", ""},
	} {
		a := account(t, s)
		reseal(t, s, &a, tt.key, tt.proxy)
		got, proxy, err := s.For(t.Context(), a)
		if err != nil || got.Secret.Reveal() != tt.wantKey || proxy.Reveal() != tt.wantProxy {
			t.Errorf("%s: key %q, proxy %q, %v", tt.name, got.Secret.Reveal(), proxy.Reveal(), err)
		}
	}
}

func TestForRefuses(t *testing.T) {
	v := newVault(t)
	s := credential.New(v)
	good := account(t, s)
	moved := good
	moved.ID = "acct_2"
	noKey := good
	reseal(t, s, &noKey, value(""), nil)
	notJSON := good
	var err error
	if notJSON.Sealed, err = v.Seal(t.Context(), []byte("test-key, plain"), good.ID); err != nil {
		t.Fatal(err)
	}
	none := good
	none.Sealed = nil
	for _, tt := range []struct {
		name    string
		account pool.Account
		want    string
	}{
		{"of another account", moved, "does not open; set it again"},
		{"without a key", noKey, "has no credential"},
		{"not readable", notJSON, "is not readable"},
		{"never sealed", none, "does not open"},
	} {
		_, _, err := s.For(t.Context(), tt.account)
		if fault.CodeOf(err) != fault.UpstreamFailed || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if strings.Contains(fmt.Sprintf("%+v", err), "test-key") {
			t.Errorf("%s: the error shows the key: %+v", tt.name, err)
		}
	}
	if _, err := s.Seal(t.Context(), moved, nil, nil); fault.CodeOf(err) != fault.UpstreamFailed {
		t.Errorf("Seal over what does not open = %v", err)
	}
}

type down struct{ error }

func (d down) Seal(context.Context, []byte, string) ([]byte, error) { return nil, d.error }
func (d down) Open(context.Context, []byte, string) ([]byte, error) { return nil, d.error }

func TestVaultDown(t *testing.T) {
	cause := errors.New("the key service does not answer")
	s := credential.New(down{cause})
	_, _, err := s.For(t.Context(), pool.Account{ID: "a", Name: "first", Sealed: []byte{1}})
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "cannot be opened now") {
		t.Errorf("For = %v", err)
	}
	if _, err := s.Seal(t.Context(), pool.Account{ID: "a"}, value(testKey), nil); !errors.Is(err, cause) {
		t.Errorf("Seal = %v", err)
	}
}

func BenchmarkFor(b *testing.B) {
	s := credential.New(newVault(b))
	a := account(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.For(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}
