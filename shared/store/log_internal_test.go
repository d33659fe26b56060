package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestWhatGoRedisSaysIsLogged(t *testing.T) {
	var out bytes.Buffer
	lines{slog.New(slog.NewJSONHandler(&out, nil))}.Printf(t.Context(), "dialing %s\nfailed", "cache:6379")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"level":"WARN","msg":"redis client","message":"dialing cache:6379\nfailed"`) {
		t.Errorf("logged %s", got)
	}
}
