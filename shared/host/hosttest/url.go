package hosttest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// urlDomain is the host that clients of the Function URL ask.
const urlDomain = "function.test"

// urlEvent is a request as the event of a Function URL.
func urlEvent(r *http.Request, body []byte) ([]byte, error) {
	event := events.LambdaFunctionURLRequest{
		Version: "2.0", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{"host": urlDomain}, Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true,
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			event.Cookies = strings.Split(strings.Join(values, "; "), "; ")
			continue
		}
		event.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	if len(body) > 0 {
		event.Headers["content-length"] = strconv.Itoa(len(body))
	}
	event.RequestContext.DomainName = urlDomain
	event.RequestContext.HTTP = events.LambdaFunctionURLRequestContextHTTPDescription{
		Method: r.Method, Path: r.URL.Path, Protocol: "HTTP/1.1", SourceIP: "192.0.2.1", UserAgent: r.UserAgent(),
	}
	return json.Marshal(event)
}

// urlHead reads the head of an answer to a Function URL.
func urlHead(from *bufio.Reader) (*http.Response, error) {
	p, err := readPrelude(from)
	if err != nil {
		return nil, err
	}
	if len(p.MultiValueHeaders) > 0 {
		return nil, fmt.Errorf("hosttest: a Function URL ignores multiValueHeaders: %v", p.MultiValueHeaders)
	}
	return p.response(), nil
}

// prelude is the head of a streamed answer: JSON, then eight NULs.
type prelude struct {
	StatusCode        int                 `json:"statusCode"`
	Headers           map[string]string   `json:"headers"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
	Cookies           []string            `json:"cookies"`

	size int // in bytes, with the NULs
}

func readPrelude(from *bufio.Reader) (*prelude, error) {
	var head []byte
	end := make([]byte, 8)
	for !bytes.HasSuffix(head, end) {
		b, err := from.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("hosttest: an answer without a prelude: %w", err)
		}
		head = append(head, b)
	}
	p := &prelude{size: len(head)}
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimSuffix(head, end)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("hosttest: prelude: %w", err)
	}
	return p, nil
}

// response is the prelude as a response, without a body yet. Of a name in both,
// only the values of multiValueHeaders count.
func (p *prelude) response() *http.Response {
	res := &http.Response{
		Status: http.StatusText(p.StatusCode), StatusCode: p.StatusCode, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), ContentLength: -1,
	}
	for name, value := range p.Headers {
		res.Header.Set(name, value)
	}
	for name, values := range p.MultiValueHeaders {
		res.Header[http.CanonicalHeaderKey(name)] = values
	}
	for _, cookie := range p.Cookies {
		res.Header.Add("Set-Cookie", cookie)
	}
	return res
}
