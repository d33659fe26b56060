package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func address(value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("not an address (want host:port, e.g. 127.0.0.1:8080)")
	}
	return nil
}

// redisURL says nothing of what it read: a URL may hold a password anywhere.
func redisURL(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
		return errors.New("not the URL of a Redis (want redis://host:6379 or rediss://user:password@host:6379)")
	}
	return nil
}

// signIn reads how to sign in to the store with IAM: its kind and name.
func signIn(value string) error {
	kind, name, ok := strings.Cut(value, "/")
	if !ok || name == "" || kind != "serverless" && kind != "nodes" && kind != "memorydb" {
		return errors.New("not a store to sign in to (want serverless/NAME, nodes/NAME or memorydb/NAME)")
	}
	return nil
}

func httpsURL(value string) error {
	if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("not a URL (want https://HOST/PATH)")
	}
	return nil
}

func arn(value string) error {
	if parts := strings.SplitN(value, ":", 6); len(parts) < 6 || parts[0] != "arn" {
		return errors.New("not an ARN (want arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE)")
	}
	return nil
}

const shortestToken = 16

// AdminToken refuses a token that is too short to be a secret.
func AdminToken(value string) error {
	if len(value) < shortestToken {
		return fmt.Errorf("too short (want %d characters or more)", shortestToken)
	}
	return nil
}

func duration(value string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, errors.New("not a duration (want e.g. 120s)")
	}
	if d < least {
		return 0, fmt.Errorf("too short (want %s or more)", least)
	}
	return d, nil
}

func boolean(value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}

func whole(value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("not a number from %d to %d", least, most)
	}
	return n, nil
}

// size reads a number of bytes. KB, MB and GB are powers of 1,024, as are KiB,
// MiB and GiB.
func size(value string) (int64, error) {
	number, unit := value, int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
		{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1},
	} {
		if before, ok := strings.CutSuffix(value, u.suffix); ok {
			number, unit = before, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return 0, errors.New("not a size (want e.g. 32MB)")
	}
	return n * unit, nil
}

// Closest is the one of known that is the fewest edits away from name.
func Closest(name string, known []string) string {
	best, fewest := "", math.MaxInt
	for _, k := range known {
		if n := edits(name, k); n < fewest {
			best, fewest = k, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
