package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/admin"
	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
	"sluice/shared/store/storetest"
)

func TestHostsOnLoopback(t *testing.T) {
	b := single(t)
	b.deps.Loopback, b.deps.Hosts = true, []string{"sluice.example.org"}
	b.handler = admin.New(b.deps)
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8080": 200, "127.0.0.1:8080": 200, "127.0.0.2": 200, "[::1]:8080": 200, "[::1]": 200,
		"sluice.example.org": 200, "Sluice.example.org:443": 200,
		"": 403, "evil.example.org": 403, "127.0.0.1.example.org:8080": 403, "localhost.example.org": 403, "10.0.0.1:8080": 403, "[": 403,
	} {
		w := b.serve(b.request(http.MethodGet, "/admin/v1/openapi.json", "", func(r *http.Request) { r.Host = host }))
		if w.Code != want {
			t.Errorf("host %q: status %d, want %d", host, w.Code, want)
		}
	}
}

func TestTokens(t *testing.T) {
	b := single(t)
	right := admission.Digest(secret.New(token))
	for _, c := range []struct {
		name          string
		token, sum    string
		authorization string
		want          int
	}{
		{"right", token, "", "Bearer " + token, 200},
		{"right, in lower case", token, "", "bearer " + token, 200},
		{"wrong", token, "", "Bearer test-tokem", 401},
		{"prefix", token, "", "Bearer test", 401},
		{"no scheme", token, "", token, 401},
		{"none sent", token, "", "", 401},
		{"digest", "", right, "Bearer " + token, 200},
		{"digest, wrong", "", right, "Bearer other", 401},
		{"the token goes first", "other", right, "Bearer " + token, 401},
		{"none known", "", "", "Bearer ", 401},
		{"digest of nothing", "", admission.Digest(secret.Value{}), "Bearer ", 401},
		{"digest cut short", "", right[:32], "Bearer " + token, 401},
		{"digest that is none", "", "zz", "Bearer " + token, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.deps.Token, b.deps.TokenSum = secret.New(c.token), c.sum
			b.handler = admin.New(b.deps)
			w := b.serve(b.request(http.MethodGet, "/admin/v1/openapi.json", "", func(r *http.Request) {
				r.Header.Set("Authorization", c.authorization)
			}))
			if w.Code != c.want {
				t.Errorf("status %d, want %d", w.Code, c.want)
			}
		})
	}
}

func TestEveryAnswerIsSecured(t *testing.T) {
	b := single(t)
	for _, path := range []string{"/admin/v1/keys", "/admin/v1/nothing", "/admin/v1/openapi.json"} {
		h := b.serve(b.request(http.MethodGet, path, "", nil)).Header()
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": "application/json",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if !strings.HasPrefix(h.Get("X-Request-Id"), "req_") {
			t.Errorf("%s: request id %q", path, h.Get("X-Request-Id"))
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	b := single(t)
	body := `{"name": "` + strings.Repeat("x", 1<<20) + `"}`
	if answer := b.do(t, http.MethodPost, "/admin/v1/keys", body, http.StatusRequestEntityTooLarge); answer["error"] == nil {
		t.Errorf("answered %v", answer)
	}
}

// Every write leaves a line in the log and an entry in the config log, and no
// secret is in either, nor in an answer beside the one that reveals it.
func TestWritesAreRecorded(t *testing.T) {
	b := single(t)
	made := b.do(t, http.MethodPost, "/admin/v1/keys", `{"name": "one"}`, 201)
	id, _ := made["id"].(string)
	key, _ := made["key"].(string)
	account := b.id(t, "/admin/v1/accounts", `{"name": "first", "provider": "anthropic", "proxy": "http://u:test-password@127.0.0.1:3128", "credential": {"type": "api_key", "secret": "test-secret"}}`)
	b.do(t, http.MethodPost, "/admin/v1/accounts/"+account+"/pause", "", 200)
	b.do(t, http.MethodPost, "/admin/v1/accounts/"+account+"/reset", "", 200)
	b.do(t, http.MethodPost, "/admin/v1/keys/"+id+"/rotate", "", 200)
	b.do(t, http.MethodPatch, "/admin/v1/keys/"+id, `{"name": "two"}`, 200)
	b.do(t, http.MethodDelete, "/admin/v1/keys/"+id, "", 204)
	b.do(t, http.MethodDelete, "/admin/v1/keys/"+id, "", 404)
	seen := b.do(t, http.MethodGet, "/admin/v1/accounts/"+account, "", 200)

	var actions []string
	for line := range strings.Lines(b.log.String()) {
		var l struct{ Msg, RequestID, Actor, Action, Kind, ID, Level string }
		if err := json.Unmarshal([]byte(strings.ReplaceAll(line, "request_id", "requestid")), &l); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, l.Level+" "+l.Action+" "+l.Kind)
		if l.Actor != "admin" || !strings.HasPrefix(l.RequestID, "req_") || l.ID != id && l.ID != account {
			t.Errorf("line %s", line)
		}
	}
	want := "INFO create key, INFO create account, INFO pause account, INFO reset account, INFO rotate key, INFO update key, INFO delete key, WARN delete key"
	if got := strings.Join(actions, ", "); got != want {
		t.Errorf("logged %s\nwant   %s", got, want)
	}
	if n := len(b.history.entries); n != 6 {
		t.Errorf("%d entries in the config log, want 6", n)
	}
	history, err := json.Marshal(b.history.entries)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{key, "test-secret", "test-password", token} {
		if text := b.log.String() + string(history) + string(shown); strings.Contains(text, hidden) {
			t.Errorf("%q is in the open", hidden)
		}
	}
	for _, name := range []string{"sealed", "digest", "auth"} {
		if _, ok := seen[name]; ok {
			t.Errorf("%s is shown", name)
		}
	}
}

// What is sealed is what was sent, whatever of it a patch leaves out.
func TestCredentialsAreSealed(t *testing.T) {
	b := single(t)
	path := "/admin/v1/accounts"
	id := b.id(t, path, `{"name": "first", "provider": "anthropic", "proxy": "http://u:test-password@127.0.0.1:3128", "credential": {"type": "api_key", "secret": "test-secret"}}`)
	path += "/" + id
	is := func(key, proxy string, auth provider.Auth) {
		t.Helper()
		account, err := b.records.Accounts().Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		opened, via, err := b.sealed.For(t.Context(), account)
		if err != nil || opened.Secret.Reveal() != key || via.Reveal() != proxy || opened.Auth != auth {
			t.Errorf("opened %q, %q, %s, %v; want %q, %q, %s", opened.Secret.Reveal(), via.Reveal(), opened.Auth, err, key, proxy, auth)
		}
	}
	is("test-secret", "http://u:test-password@127.0.0.1:3128", provider.APIKey)
	b.do(t, http.MethodPatch, path, `{"credential": {"type": "bearer"}, "proxy": "http://u@127.0.0.1:3128", "name": "second"}`, 200)
	is("test-secret", "http://u:test-password@127.0.0.1:3128", provider.Bearer)
	b.do(t, http.MethodPatch, path, `{"credential": {"secret": "test-other"}}`, 200)
	is("test-other", "http://u:test-password@127.0.0.1:3128", provider.Bearer)
	b.do(t, http.MethodPatch, path, `{"proxy": "http://u:test-renewed@127.0.0.1:3128"}`, 200)
	is("test-other", "http://u:test-renewed@127.0.0.1:3128", provider.Bearer)
	b.do(t, http.MethodPatch, path, `{"proxy": null}`, 200)
	is("test-other", "", provider.Bearer)
}

// A key's secret finds it as long as it was not rotated.
func TestSecretsWork(t *testing.T) {
	b := single(t)
	gate := admission.New(admission.Options{Store: b.deps.Ledger.(admission.Store), Now: func() time.Time { return b.clock }})
	finds := func(text any, id string) {
		t.Helper()
		s, _ := text.(string)
		l, err := gate.Locate(t.Context(), secret.New(s))
		if id == "" {
			if fault.CodeOf(err) != fault.Unauthenticated {
				t.Errorf("a secret that was replaced: %v", err)
			}
			return
		}
		if err != nil || l.Key.ID != id {
			t.Errorf("found %v, %v; want %s", l, err, id)
		}
	}
	made := b.do(t, http.MethodPost, "/admin/v1/keys", `{"name": "one"}`, 201)
	id, _ := made["id"].(string)
	finds(made["key"], id)
	rotated := b.do(t, http.MethodPost, "/admin/v1/keys/"+id+"/rotate", "", 200)
	finds(rotated["key"], id)
	finds(made["key"], "")
}

func TestCoolingAccounts(t *testing.T) {
	b := single(t)
	b.clock = time.Now() // cool-downs are by the clock of Redis
	id := b.id(t, "/admin/v1/accounts", `{"name": "first", "provider": "anthropic", "credential": {"type": "api_key", "secret": "test-secret"}}`)
	until := time.Now().Add(time.Hour)
	err := b.health.Release(t.Context(), pool.Release{
		Call: "call_1", Account: id, Vendor: "anthropic", Attempt: 1, Scope: provider.WholeAccount, Family: "opus", CoolUntil: until, Reason: "the key was refused",
	})
	if err != nil {
		t.Fatal(err)
	}
	state := func(path string) map[string]any {
		t.Helper()
		answer := b.do(t, http.MethodGet, "/admin/v1/"+path, "", 200)
		if list, ok := answer["accounts"].([]any); ok {
			answer, _ = list[0].(map[string]any)
		}
		s, _ := answer["state"].(map[string]any)
		return s
	}
	for _, path := range []string{"accounts/" + id, "overview"} {
		if s := state(path); s["condition"] != "cooling" || s["reason"] != "the key was refused" || s["cool_until"] == nil {
			t.Errorf("%s: %v", path, s)
		}
	}
	if s := b.do(t, http.MethodPost, "/admin/v1/accounts/"+id+"/reset", "", 200)["state"].(map[string]any); s["condition"] != "healthy" {
		t.Errorf("after a reset: %v", s)
	}
}

func TestStoreIsDown(t *testing.T) {
	server := storetest.Own(t)
	b := newBench(t, server.Client(t))
	server.Kill()
	for _, path := range []string{"keys", "users/user_1", "accounts", "overview", "usage", "usage/records"} {
		w := b.serve(b.request(http.MethodGet, "/admin/v1/"+path, "", nil))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"store_down"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if !strings.Contains(b.log.String(), "admin request failed") {
		t.Error("the log says nothing")
	}
}

// keysOf answers as told in place of the store.
type keysOf struct {
	admin.Records[admission.Key]
	err error
}

func (k keysOf) Update(context.Context, string, admission.Key) (admission.Key, error) {
	return admission.Key{}, k.err
}

func (k keysOf) Get(ctx context.Context, id string) (admission.Key, error) {
	if k.Records != nil {
		return k.Records.Get(ctx, id)
	}
	return admission.Key{}, k.err
}

func TestKeyChangedMeanwhile(t *testing.T) {
	b := single(t)
	id := b.id(t, "/admin/v1/keys", `{"name": "one"}`)
	b.deps.Keys = keysOf{b.records.Keys(), fault.New(fault.Conflict, "it was changed")}
	b.handler = admin.New(b.deps)
	b.do(t, http.MethodPatch, "/admin/v1/keys/"+id, `{"name": "two"}`, http.StatusConflict)
}

func TestErrorsAreAnswered(t *testing.T) {
	b := single(t)
	serve := func(err error) (int, http.Header, string) {
		b.deps.Keys = keysOf{nil, err}
		b.handler = admin.New(b.deps)
		w := b.serve(b.request(http.MethodGet, "/admin/v1/keys/key_1", "", nil))
		return w.Code, w.Header(), w.Body.String()
	}
	if code, h, body := serve(fault.New(fault.Busy, "busy").After(1500 * time.Millisecond)); code != 503 || h.Get("Retry-After") != "2" {
		t.Errorf("busy: %d, %v, %s", code, h, body)
	}
	if code, _, body := serve(errors.New("open /secret/path")); code != 500 || strings.Contains(body, "secret") {
		t.Errorf("a defect: %d %s", code, body)
	}
	if !strings.Contains(b.log.String(), "open /secret/path") {
		t.Errorf("the log has no cause: %s", b.log)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := b.serve(b.request(http.MethodGet, "/admin/v1/keys/key_1", "", nil).WithContext(ctx))
	if w.Code != 500 { // the error is not of the client's leaving
		t.Errorf("a defect while the client left: %d", w.Code)
	}
	b.deps.Keys = keysOf{nil, context.Canceled}
	b.handler = admin.New(b.deps)
	if w := b.serve(b.request(http.MethodGet, "/admin/v1/keys/key_1", "", nil).WithContext(ctx)); w.Code != 499 {
		t.Errorf("the client left: %d", w.Code)
	}
}

func TestNoTester(t *testing.T) {
	b := single(t)
	id := b.id(t, "/admin/v1/accounts", `{"name": "first", "provider": "anthropic", "credential": {"type": "api_key", "secret": "test-secret"}}`)
	b.deps.Tester = nil
	b.handler = admin.New(b.deps)
	b.do(t, http.MethodPost, "/admin/v1/accounts/"+id+"/test", "", http.StatusNotImplemented)
}

// A key bound to an account that is gone can be changed in everything else.
func TestBoundToWhatIsGone(t *testing.T) {
	b := single(t)
	account := b.id(t, "/admin/v1/accounts", `{"name": "first", "provider": "anthropic", "credential": {"type": "api_key", "secret": "test-secret"}}`)
	id := b.id(t, "/admin/v1/keys", `{"name": "one", "bind": {"account": "`+account+`"}}`)
	b.do(t, http.MethodDelete, "/admin/v1/accounts/"+account, "", 204)
	b.do(t, http.MethodPatch, "/admin/v1/keys/"+id, `{"name": "two"}`, 200)
	b.do(t, http.MethodPatch, "/admin/v1/keys/"+id, `{"bind": {"account": null, "group": "spare"}}`, 200)
	b.do(t, http.MethodPatch, "/admin/v1/keys/"+id, `{"bind": {"group": null, "account": "`+account+`"}}`, 400)
}

// A list with a filter is complete over its pages, and no page is too large.
func TestFilteredPages(t *testing.T) {
	b := single(t)
	var want []string
	for i := range 30 {
		tags := `{"n": "odd"}`
		if i%3 == 0 {
			tags = `{"n": "third"}`
		}
		id := b.id(t, "/admin/v1/keys", `{"name": "k", "tags": `+tags+`}`)
		if i%3 == 0 {
			want = append([]string{id}, want...)
		}
	}
	var got []string
	for cursor := ""; ; {
		answer := b.do(t, http.MethodGet, "/admin/v1/keys?tag=n:third&limit=3&cursor="+cursor, "", 200)
		data, _ := answer["data"].([]any)
		if len(data) > 3 {
			t.Errorf("a page of %d", len(data))
		}
		for _, d := range data {
			id, _ := d.(map[string]any)["id"].(string)
			got = append(got, id)
		}
		next, more := answer["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if data, _ := b.do(t, http.MethodGet, "/admin/v1/keys?tag=n", "", 200)["data"].([]any); len(data) != 30 {
		t.Errorf("%d keys have the tag, want 30", len(data))
	}
}

func BenchmarkListKeys(b *testing.B) {
	s := single(b)
	for range 50 {
		s.id(b, "/admin/v1/keys", `{"name": "one", "limits": {"budgets": [{"per": "day", "usd": "5"}]}, "tags": {"project": "atlas"}}`)
	}
	r := s.request(http.MethodGet, "/admin/v1/keys?limit=50", "", nil)
	b.ReportAllocs()
	for b.Loop() {
		if w := s.serve(r); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
