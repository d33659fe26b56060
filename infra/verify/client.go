package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/secret"
)

const (
	// askTimeout bounds everything but answers that are streamed.
	askTimeout = 60 * time.Second
	// maxQuoted is how much of an answer is read to say what is wrong with it.
	maxQuoted = 64 << 10
	// maxAnswer is the largest answer of the admin API that is read.
	maxAnswer = 8 << 20

	messagesPath = "/v1/messages"
	adminPath    = "/admin/v1"
)

// client asks the deployment over its public endpoint, as any client does.
type client struct {
	base  string // without a slash at its end
	token secret.Value
	http  *http.Client
}

// newClient is a client of the endpoint. Certificates must chain to roots; nil =
// the system's.
func newClient(base string, token secret.Value, roots *x509.CertPool) *client {
	return &client{base: strings.TrimRight(base, "/"), token: token, http: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: askTimeout,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true, // pieces are timed as they come over the wire
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // tokens go nowhere else
	}}
}

// refusal is an error that the deployment answered.
type refusal struct {
	status int
	kind   string // code of the admin API, or type in Anthropic's shape
	text   string
	shaped bool // in Anthropic's shape
}

func (r *refusal) Error() string {
	if r.kind == "" {
		return fmt.Sprintf("%d %s", r.status, r.text)
	}
	return fmt.Sprintf("%d %s: %s", r.status, r.kind, r.text)
}

// send sends a request; whoever gets the answer closes it.
func (c *client) send(ctx context.Context, method, path string, as secret.Value, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if !as.Empty() {
		r.Header.Set("Authorization", "Bearer "+as.Reveal())
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "sluice-verify")
	if strings.HasPrefix(path, messagesPath) {
		r.Header.Set("Anthropic-Version", "2023-06-01")
	}
	return c.http.Do(r)
}

// ask sends in as JSON and reads a successful answer into out; nil = neither. It
// errs with a *refusal for an answer that is no success.
func (c *client) ask(ctx context.Context, method, path string, as secret.Value, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	res, err := c.send(ctx, method, path, as, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as it matters
	if res.StatusCode/100 != 2 {
		return readRefusal(res)
	}
	if out == nil {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer to %s %s is not what the admin API describes: %w", method, path, err)
	}
	return nil
}

// admin asks the admin API with the admin token.
func (c *client) admin(ctx context.Context, method, path string, in, out any) error {
	return c.ask(ctx, method, adminPath+path, c.token, in, out)
}

// readRefusal reads an answer that is no success, whatever its shape: it may be of
// the product or of a gateway in front of it.
func readRefusal(res *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(res.Body, maxQuoted))
	if err != nil {
		return fmt.Errorf("the answer %d broke off: %w", res.StatusCode, err)
	}
	return parseRefusal(res.StatusCode, body)
}

// parseRefusal reads the body of an error.
func parseRefusal(status int, body []byte) *refusal {
	const most = 200
	var e struct {
		Type  string
		Error struct{ Code, Type, Message string }
	}
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		text := strings.ToValidUTF8(string(body[:min(len(body), most)]), "")
		return &refusal{status: status, text: fmt.Sprintf("%s (not the shape of an error of Sluice)", text)}
	}
	kind := e.Error.Code
	if kind == "" {
		kind = e.Error.Type
	}
	return &refusal{status: status, kind: kind, text: e.Error.Message, shaped: e.Type == "error" && e.Error.Type != ""}
}

// statusOf is the status of a refusal, 0 of another error.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return 0
}
