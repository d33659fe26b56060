package rollup_test

import (
	"testing"

	"sluice/shared/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }
