package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestItPrintsAsRedacted(t *testing.T) {
	const text = "test-key"
	v := New(text)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", v, "within", struct{ V Value }{v})
	marshalled, err := json.Marshal(map[string]Value{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v), fmt.Sprintf("%+v", struct{ V Value }{v}), log.String(), string(marshalled),
	} {
		if strings.Contains(printed, text) || !strings.Contains(printed, "redacted") {
			t.Errorf("it prints %q", printed)
		}
	}
	if v.Reveal() != text || v.Empty() || !(Value{}).Empty() {
		t.Error("it does not keep its text")
	}
	if minted := Mint("p-"); len(minted.Reveal()) != 45 || minted == Mint("p-") || minted.Hint() != minted.Reveal()[41:] || v.Hint() != "" {
		t.Errorf("minted %q, hints %q and %q", minted.Reveal(), minted.Hint(), v.Hint())
	}
	var read Value
	if err := json.Unmarshal([]byte(`"test-key"`), &read); err != nil || read != v {
		t.Errorf("it reads as %q: %v", read.Reveal(), err)
	}
}
