package hosttest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// Stage is the stage of the REST API. Its name is in the path that a client asks,
// which REST leaves out, and must not be in that which the function sees.
const Stage = "live"

// restDomain is the host that clients of the REST API ask.
const restDomain = "api.test"

// preludeLimit is where the prelude of an answer must have ended.
const preludeLimit = 16 << 10

// restEvent is a request as the event of a REST API, with the headers that reach a
// function. See event.ofREST of shared/host for what is known of it.
func restEvent(r *http.Request, body []byte) ([]byte, error) {
	path := r.URL.EscapedPath()
	event := events.APIGatewayProxyRequest{
		Resource: "/", Path: path, HTTPMethod: r.Method,
		Headers: make(map[string]string), MultiValueHeaders: map[string][]string{
			"Host": {restDomain}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Port": {"443"}, "X-Forwarded-Proto": {"https"},
		},
	}
	if proxy := strings.TrimPrefix(path, "/"); proxy != "" {
		event.Resource, event.PathParameters = "/{proxy+}", map[string]string{"proxy": proxy}
	}
	for name, values := range r.Header {
		switch name {
		case "Connection", "Content-Md5", "Expect", "Max-Forwards", "Proxy-Authenticate", "Server", "Te", "Trailer", "Upgrade", "Www-Authenticate":
		case "Transfer-Encoding":
			return nil, fmt.Errorf("hosttest: API Gateway refuses a request with %s", name)
		default:
			event.MultiValueHeaders[name] = values
		}
	}
	if len(body) > 0 {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
		event.MultiValueHeaders["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	for name, values := range event.MultiValueHeaders {
		event.Headers[name] = values[len(values)-1]
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if len(query) > 0 {
		event.MultiValueQueryStringParameters, event.QueryStringParameters = query, make(map[string]string)
		for name, values := range query {
			event.QueryStringParameters[name] = values[len(values)-1]
		}
	}
	event.RequestContext = events.APIGatewayProxyRequestContext{
		AccountID: "000000000000", APIID: "api", Stage: Stage, DomainName: restDomain, DomainPrefix: "api", Protocol: "HTTP/1.1",
		ResourcePath: event.Resource, Path: "/" + Stage + path, HTTPMethod: r.Method,
		Identity: events.APIGatewayRequestIdentity{SourceIP: "192.0.2.1", UserAgent: r.UserAgent()},
	}
	return json.Marshal(event)
}

// restHead reads the head of an answer to a REST API, and does with headers what
// API Gateway does.
//
// Sources, under docs.aws.amazon.com/apigateway/latest/developerguide:
// response-transfer-mode-lambda.html (the format), api-gateway-known-issues.html
// (the headers).
func restHead(from *bufio.Reader) (*http.Response, error) {
	p, err := readPrelude(from)
	if err != nil {
		return nil, err
	}
	if p.size > preludeLimit {
		return nil, fmt.Errorf("hosttest: a prelude of %d bytes: API Gateway reads %d", p.size, preludeLimit)
	}
	res := p.response()
	for name, values := range res.Header {
		switch name {
		case "Expect", "Host", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via":
			delete(res.Header, name)
		case "Authorization", "Connection", "Content-Md5", "Date", "Max-Forwards", "Server", "User-Agent", "Www-Authenticate":
			delete(res.Header, name)
			res.Header["X-Amzn-Remapped-"+name] = values
		}
	}
	return res, nil
}
