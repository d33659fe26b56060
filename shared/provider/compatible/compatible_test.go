package compatible

import (
	"testing"

	"sluice/shared/provider/providertest"
)

func TestProvider(t *testing.T) {
	p := Provider()
	if p.Name() != "compatible" {
		t.Error(p.Name())
	}
	providertest.Run(t, p, "testdata")
}
