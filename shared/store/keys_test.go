package store_test

import (
	"testing"

	"sluice/shared/store"
)

func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		store.Locator("abc"):               "x:abc",
		store.Owner(7, "key_1"):            "k:{7}:key_1",
		store.Balance(63, "u"):             "b:{63}:u",
		store.Intents(0):                   "i:{0}",
		store.Due(5):                       "i:{5}:due",
		store.Done(5, 29400000):            "d:{5}:29400000",
		store.Usage(12):                    "u:{12}",
		store.Outbox(12):                   "e:{12}",
		store.Cursors(12):                  "r:{12}",
		store.Rollup(3, "day", "20261122"): "r:{3}:day:20261122",
		store.Accounts():                   "a:{a}",
		store.AccountsVersion():            "a:{a}:version",
		store.AccountLeases("acc"):         "l:{a}:acc",
		store.AccountHealth("acc"):         "h:{a}:acc",
		store.VendorHealth("bedrock"):      "v:{a}:bedrock",
		store.CallLeases():                 "c:{a}",
		store.Index("team"):                "n:{n}:team",
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}
