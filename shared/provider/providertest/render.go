package providertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
	"sluice/shared/secret"
)

// request is the request that p makes, as text, or the fault.
func request(t *testing.T, p provider.Provider, sections map[string]string) string {
	t.Helper()
	var account struct {
		BaseURL string        `json:"base_url"`
		Region  string        `json:"region"`
		Auth    provider.Auth `json:"auth"`
		Secret  string        `json:"secret"`
	}
	var outbound struct {
		Op     string      `json:"op"`
		Model  string      `json:"model"`
		Stream bool        `json:"stream"`
		Header http.Header `json:"header"`
		Query  string      `json:"query"`
	}
	decode(t, "account", sections["account"], &account)
	decode(t, "outbound", sections["outbound"], &outbound)
	op := llm.Generate
	if outbound.Op == "count_tokens" {
		op = llm.CountTokens
	}
	before := outbound.Header.Clone()
	req, err := p.Request(t.Context(),
		provider.Account{ID: "acc_test", BaseURL: account.BaseURL, Region: account.Region, Auth: account.Auth, Secret: secret.New(account.Secret)},
		provider.Outbound{Op: op, Model: outbound.Model, Stream: outbound.Stream, Header: outbound.Header, Query: outbound.Query, Body: []byte(strings.TrimSuffix(sections["body"], "\n"))})
	if err != nil {
		if account.Secret != "" && strings.Contains(err.Error(), account.Secret) {
			t.Error("the fault tells the secret")
		}
		return describe(err)
	}
	if !maps.EqualFunc(before, outbound.Header, slices.Equal) {
		t.Error("the outbound header was changed")
	}
	return renderRequest(t, req)
}

func decode(t *testing.T, name, text string, into any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("section %s: %v", name, err)
	}
}

func renderRequest(t *testing.T, req *http.Request) string {
	t.Helper()
	if req.GetBody == nil {
		t.Fatal("the request cannot be sent again: GetBody is missing")
	}
	r, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentLength != int64(len(body)) {
		t.Errorf("content length %d of a body of %d bytes", req.ContentLength, len(body))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", req.Method, req.URL)
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		for _, value := range req.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", body)
	return b.String()
}

// verdict is what p makes of an answer, as text.
func verdict(t *testing.T, p provider.Provider, answer string) string {
	t.Helper()
	head, body, _ := strings.Cut(answer, "\n\n")
	status, header := readHead(t, head)
	v := p.Judge(status, header, []byte(body), now())
	var b strings.Builder
	fmt.Fprintf(&b, "blame: %s\n", name(t, int(v.Blame), "nobody", "caller", "account", "vendor"))
	if !v.CoolUntil.IsZero() {
		fmt.Fprintf(&b, "cools: %s for %s\n", name(t, int(v.Scope), "the account", "the family at the account", "the family at the vendor"), v.CoolUntil.Sub(now()))
	}
	if v.Err != nil {
		b.WriteString(describe(v.Err))
	}
	return b.String()
}

// readHead reads a status and the headers below it.
func readHead(t *testing.T, head string) (int, http.Header) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(head))
	lines.Scan()
	status, err := strconv.Atoi(lines.Text())
	if err != nil {
		t.Fatalf("an answer begins with its status: %v", err)
	}
	header := make(http.Header)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), ": ")
		if !found {
			t.Fatalf("%q is no header", lines.Text())
		}
		header.Add(name, value)
	}
	return status, header
}

func name(t *testing.T, i int, names ...string) string {
	t.Helper()
	if i >= len(names) {
		t.Fatalf("%d is none of %q", i, names)
	}
	return names[i]
}

// describe is a fault, one line for each thing that it says.
func describe(err error) string {
	e := fault.From(err)
	var b strings.Builder
	fmt.Fprintf(&b, "fault: %s\n", e.Code)
	for _, line := range []struct{ name, value string }{{"field", e.Field}, {"kind", e.Kind}} {
		if line.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", line.name, line.value)
		}
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, "status: %d\n", e.Status)
	}
	if e.RetryAfter != 0 {
		fmt.Fprintf(&b, "retry after: %s\n", e.RetryAfter)
	}
	fmt.Fprintf(&b, "message: %s\n", e.Message)
	return b.String()
}
