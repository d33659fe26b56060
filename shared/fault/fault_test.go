package fault

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestFromKeepsFaultsAndHidesOthers(t *testing.T) {
	f := At("model", "must not be %s", "empty")
	if got := From(errors.Join(io.EOF, f)); got != f {
		t.Errorf("a fault within another error became %v", got)
	}
	got := From(io.ErrUnexpectedEOF)
	if got.Code != Internal || strings.Contains(got.Message, "EOF") || !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("another error became %+v", got)
	}
	if text := f.Error(); text != "invalid: model: must not be empty" {
		t.Errorf("it reads %q", text)
	}
}

func TestLogTellsTheCause(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "fault", Wrap(StoreDown, io.EOF, "the ledger does not answer"))
	for _, want := range []string{"store_down", "the ledger does not answer", "EOF"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q lacks %q", &b, want)
		}
	}
}

func TestFinal(t *testing.T) {
	final := map[Code]bool{
		Unauthenticated: true, Forbidden: true, Invalid: true, NotFound: true, Conflict: true, TooLarge: true,
		Unsupported: true, NotImplemented: true, BudgetSpent: true, NoAccount: true,
	}
	seen := make(map[Code]bool)
	for _, code := range Codes() {
		if seen[code] {
			t.Errorf("%s is listed twice", code)
		}
		seen[code] = true
		if got := New(code, "x").Final(); got != final[code] {
			t.Errorf("%s is final: %v", code, got)
		}
	}
	if !New(RateLimited, "x").After(time.Hour).Final() || New(RateLimited, "x").After(time.Minute).Final() {
		t.Error("a window is final when it resets in more than a minute, and only then")
	}
}
