package trace

import (
	"regexp"
	"strings"
	"testing"
)

func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"", ";", "=", "Root", "Root=1-67891233-abcdef012345678912345678", "Sampled=1;Sampled=0", "Sampled=?",
		"Self=1-67891233-12456789abcdef0123456789;Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:1",
	} {
		f.Add(s)
	}
	ids := regexp.MustCompile(`^(1-[0-9a-f]{8}-[0-9a-f]{24})?\|([0-9a-f]{16})?$`)
	f.Fuzz(func(t *testing.T, s string) {
		h := readHeader(s)
		if !ids.MatchString(h.root+"|"+h.parent) || h.root == "" && h.parent != "" {
			t.Errorf("%q: %+v", s, h)
		}
		if !strings.Contains(s, h.root) || h.sampled == yes && !strings.Contains(s, "Sampled=1") {
			t.Errorf("%q: %+v is not in it", s, h)
		}
	})
}
