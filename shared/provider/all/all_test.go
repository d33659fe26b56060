package all

import (
	"os"
	"testing"
)

// Folders beside this one that are no vendor.
var others = map[string]bool{"all": true, "providertest": true}

func TestEveryVendorIsListed(t *testing.T) {
	listed := Providers()
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	vendors := 0
	for _, f := range folders {
		if !f.IsDir() || others[f.Name()] {
			continue
		}
		vendors++
		if p, ok := listed[f.Name()]; !ok || p.Name() != f.Name() {
			t.Errorf("the vendor %s is not in Providers", f.Name())
		}
	}
	if vendors != len(listed) {
		t.Errorf("%d folders, %d listed", vendors, len(listed))
	}
}
