package host

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// LambdaBody is the largest request body, in bytes, that surely reaches a handler
// under Lambda: an invocation carries at most 6 MB, of which 64 KB are left to the
// rest of the event, and a body is base64 there. What is larger never becomes an
// invocation: API Gateway or the Function URL refuses it by itself.
//
// Source: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
const LambdaBody = (6<<20 - 64<<10) / 4 * 3

// gatewayHeader is how much of an answer API Gateway reads in search of the end of
// its header, in bytes; it answers 500 when that does not come. Source:
// docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html.
const gatewayHeader = 16 << 10

// event is an HTTP request as a Function URL or a REST API of API Gateway hands it
// to a function: the members of both that are read here, so that a large body is
// decoded once.
type event struct {
	Version         string            `json:"version"` // of the format; a REST API gives none
	Headers         map[string]string `json:"headers"` // a REST API gives the last value of each
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  struct {
		DomainName string `json:"domainName"`
		HTTP       struct {
			Method   string `json:"method"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"` // of a Function URL
		Identity struct {
			SourceIP string `json:"sourceIp"`
		} `json:"identity"` // of a REST API
	} `json:"requestContext"`

	// Of a Function URL only.
	RawPath        string   `json:"rawPath"`
	RawQueryString string   `json:"rawQueryString"`
	Cookies        []string `json:"cookies"`

	// Of a REST API only.
	Resource          string              `json:"resource"` // the template that matched, as /{proxy+}
	Path              string              `json:"path"`
	HTTPMethod        string              `json:"httpMethod"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Query             map[string][]string `json:"multiValueQueryStringParameters"`
	PathParameters    map[string]string   `json:"pathParameters"`
}

// rest says whether a REST API sent the event. Only it and HTTP APIs name the
// resource that matched, and HTTP APIs, which cannot stream, name a version.
func (e *event) rest() bool { return e.Resource != "" && e.HTTPMethod != "" && e.Version == "" }

// parts are what the two kinds of event say differently.
type parts struct {
	method, uri, source string
	header              http.Header
}

// request is the event as a server sees a request.
func (e *event) request(ctx context.Context) (*http.Request, error) {
	var c parts
	var err error
	switch {
	case e.rest():
		c, err = e.ofREST()
	case e.RequestContext.HTTP.Method != "":
		c = e.ofURL()
	default:
		err = errors.New("it has neither the requestContext.http.method of a Function URL nor the resource and httpMethod of a REST API: let one of these invoke the function")
	}
	if err != nil {
		return nil, fmt.Errorf("host: invocation: %w", err)
	}
	body := e.Body
	if e.IsBase64Encoded {
		b, err := base64.StdEncoding.DecodeString(body)
		if err != nil {
			return nil, fmt.Errorf("host: body of the invocation: %w", err)
		}
		body = string(b)
	}
	target, err := url.ParseRequestURI(c.uri)
	if err != nil {
		return nil, fmt.Errorf("host: invocation: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, "/", strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("host: invocation: %w", err)
	}
	r.URL, r.RequestURI, r.Header = target, c.uri, c.header
	r.Host = cmp.Or(r.Header.Get("Host"), e.RequestContext.DomainName)
	r.Header.Del("Host") // a server has it in r.Host only
	r.RemoteAddr = net.JoinHostPort(c.source, "0")
	return r, nil
}

// ofURL reads an event of a Function URL. Path and query are as the client sent
// them, and so are headers, but for repeated ones, which are joined with commas,
// and cookies, which stand apart.
//
// Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
func (e *event) ofURL() parts {
	c := parts{method: e.RequestContext.HTTP.Method, uri: cmp.Or(e.RawPath, "/"), source: e.RequestContext.HTTP.SourceIP, header: make(http.Header)}
	if e.RawQueryString != "" {
		c.uri += "?" + e.RawQueryString
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		c.header.Set(name, e.Headers[name])
	}
	if len(e.Cookies) > 0 {
		c.header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return c
}

// ofREST reads an event of a REST API.
//
// Documented are the members and their types, that repeated headers and parameters
// are in the multi-value members, that the order of different parameters is lost,
// and that parameters come decoded. Seen in an event that was logged by AWS
// (github.com/hotsock/voker, vokerhttp/testdata/apigwv1-request.json), but not
// documented: path and path parameters are percent-encoded as the client sent
// them, the stage is not in path but in requestContext.path, a plus in the query
// has become a space, header names have the client's case. Inferred: a query that
// is encoded again means the same to every handler; a percent sign within a value,
// which the notes for REST APIs say is encoded once more, is left as it comes.
//
// What the client sent in Transfer-Encoding, Expect, TE, Upgrade or in an
// Authorization with a signature of AWS does not get here: API Gateway keeps it.
//
// Sources, under docs.aws.amazon.com/apigateway/latest/developerguide:
// set-up-lambda-proxy-integrations.html (the event), api-gateway-known-issues.html
// (parameters, headers).
func (e *event) ofREST() (parts, error) {
	c := parts{method: e.HTTPMethod, source: e.RequestContext.Identity.SourceIP, header: make(http.Header)}
	raw := e.within()
	path, err := url.PathUnescape(raw)
	if err != nil {
		return parts{}, err
	}
	if !strings.HasPrefix(raw, "/") {
		return parts{}, fmt.Errorf("its path %q does not begin with a slash", raw)
	}
	target := url.URL{Path: path, RawPath: raw, RawQuery: url.Values(e.Query).Encode()}
	c.uri = target.RequestURI() // what cannot stand in a path, as a ? of one that came decoded, is encoded
	for _, name := range slices.Sorted(maps.Keys(e.MultiValueHeaders)) {
		for _, value := range e.MultiValueHeaders[name] {
			c.header.Add(name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		if len(c.header.Values(name)) == 0 {
			c.header.Set(name, e.Headers[name])
		}
	}
	return c, nil
}

// within is the path as the API's resources name it. With a domain of one's own,
// the base path that is mapped to the API, or the stage where the mapping names
// none, stands before it (not documented; seen, and listed, in
// github.com/localstack/localstack/pull/12296). What resource and parameters make
// together tells where it ends; a path that they do not explain is left alone.
func (e *event) within() string {
	if e.Resource == "/" {
		return "/"
	}
	segments := strings.Split(e.Resource, "/")
	for i, s := range segments {
		if !strings.HasPrefix(s, "{") {
			continue
		}
		value, ok := e.PathParameters[strings.Trim(s, "{+}")]
		if !ok {
			return e.Path
		}
		segments[i] = value
	}
	want := plain(strings.Join(segments, "/"))
	for at := 0; len(e.Path)-at >= len(want); {
		if plain(e.Path[at:]) == want {
			return e.Path[at:]
		}
		next := strings.IndexByte(e.Path[at+1:], '/')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return e.Path
}

// plain is a path for comparison: decoded, if it can be, and without a last slash.
func plain(path string) string {
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	return strings.TrimSuffix(path, "/")
}

// answer is how the sender of the event takes an answer: both take cookies apart;
// a Function URL takes one value for each other name, a REST API takes all.
//
// API Gateway adds Transfer-Encoding where there is no Content-Length, adds
// "application/json" where there is no Content-Type, and renames WWW-Authenticate
// to X-Amzn-Remapped-WWW-Authenticate, all documented: see the sources of ofREST
// and of gatewayHeader. What it does of this with an answer that has no body, to
// HEAD or of status 204, is not.
func (e *event) answer(status int, h http.Header, body io.Reader) *events.APIGatewayProxyStreamingResponse {
	res := &events.APIGatewayProxyStreamingResponse{StatusCode: status, Body: body, Cookies: h["Set-Cookie"]}
	several := make(map[string][]string, len(h))
	for name, values := range h {
		if name != "Set-Cookie" && !ofConnection(name) {
			several[name] = values
		}
	}
	if e.rest() {
		res.MultiValueHeaders = several
		return res
	}
	res.Headers = make(map[string]string, len(several))
	for name, values := range several {
		res.Headers[name] = strings.Join(values, ", ")
	}
	return res
}

// ofConnection says whether a header of an answer concerns only a connection,
// which a function has none of, or is the sender's to set. API Gateway would drop
// it, or pass it on as X-Amzn-Remapped-….
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Date", "Keep-Alive", "Proxy-Connection", "Server", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// bytesOf is about how long the header of an answer is, as JSON.
func bytesOf(res *events.APIGatewayProxyStreamingResponse) (n int) {
	for name, values := range res.MultiValueHeaders {
		n += len(name) + len(`"":[],`)
		for _, v := range values {
			n += len(v) + len(`"",`)
		}
	}
	for _, c := range res.Cookies {
		n += len(c) + len(`"",`)
	}
	return n
}
