package store

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"sluice/shared/fault"
	"sluice/shared/secret"
)

const defaultPort = "6379"

// address is a parsed URL of a store.
type address struct {
	hosts    []string // host:port
	user     string
	password string
	db       int
	tls      bool
}

// User is the user in the URL of a store, "" when it names none. It errs with
// fault.Invalid for a URL that Open would not take either.
func User(v secret.Value) (string, error) {
	a, err := parseURL(v)
	return a.user, err
}

// parseURL reads the URL by hand, because net/url refuses several ports in one
// authority. Its errors never quote the URL, which may hold a password.
func parseURL(v secret.Value) (address, error) {
	var a address
	scheme, rest, ok := strings.Cut(v.Reveal(), "://")
	switch {
	case !ok || scheme != "redis" && scheme != "rediss":
		return a, invalidURL("it does not begin with redis:// or rediss://")
	case strings.ContainsAny(rest, "?#"):
		return a, invalidURL("it has a query or fragment; a password with ? or # is written with percent signs")
	}
	a.tls = scheme == "rediss"
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		if err := a.credentials(rest[:i]); err != nil {
			return a, err
		}
		rest = rest[i+1:]
	}
	rest, db, _ := strings.Cut(rest, "/")
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return a, invalidURL("the database is no number")
		}
		a.db = n
	}
	for host := range strings.SplitSeq(rest, ",") {
		h, port, err := splitHost(host)
		if err != nil {
			return a, err
		}
		a.hosts = append(a.hosts, net.JoinHostPort(h, port))
	}
	return a, nil
}

func (a *address) credentials(text string) error {
	user, password, _ := strings.Cut(text, ":")
	var errUser, errPassword error
	a.user, errUser = url.PathUnescape(user)
	a.password, errPassword = url.PathUnescape(password)
	if errUser != nil || errPassword != nil {
		return invalidURL("a percent sign in user or password is not followed by two hex digits")
	}
	return nil
}

// splitHost is the host and port of one address; the port may be left out.
func splitHost(s string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), defaultPort
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return "", "", invalidURL("a port is not between 1 and 65535")
	}
	if host == "" || strings.ContainsAny(host, "[]/@ ") {
		return "", "", invalidURL("a host is missing or malformed")
	}
	return host, port, nil
}

func invalidURL(why string) error {
	return fault.New(fault.Invalid, "the store's URL is not valid: %s (want redis://[user:password@]host:port[,host:port…][/db])", why)
}
