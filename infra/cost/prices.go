package cost

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"

	"sluice/shared/money"
)

//go:embed prices.json
var priceFile []byte

// Price is the list price of one thing in us-east-1.
type Price struct {
	Key    string      `json:"key"`    // "alb"
	USD    money.Nanos `json:"usd"`    // for one Unit
	Unit   string      `json:"unit"`   // "hour", "million requests"
	By     string      `json:"by"`     // who states it: "AWS", "third party" or "memory"
	Source string      `json:"source"` // where it was read
	Date   string      `json:"date"`   // when it held, as the source says
}

// Prices is the price file, in its order.
func Prices() ([]Price, error) { return readPrices(priceFile) }

// readPrices reads a price file. A price that names no source is refused: nobody
// could check it.
func readPrices(raw []byte) ([]Price, error) {
	var file struct {
		About  string  `json:"about"`
		Prices []Price `json:"prices"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("prices.json: %w", err)
	}
	seen := map[string]bool{}
	for i, p := range file.Prices {
		switch {
		case p.Key == "" || seen[p.Key]:
			return nil, fmt.Errorf("prices.json: price %d has the key %q, which is empty or taken", i+1, p.Key)
		case p.USD <= 0:
			return nil, fmt.Errorf("prices.json: %s costs %s; a price is above zero, and what is free is listed in kinds.go", p.Key, p.USD)
		case p.Unit == "" || p.Source == "" || p.Date == "":
			return nil, fmt.Errorf("prices.json: %s needs a unit, a source and a date", p.Key)
		case p.By != "AWS" && p.By != "third party" && p.By != "memory":
			return nil, fmt.Errorf("prices.json: %s is stated by %q; by is AWS, third party or memory", p.Key, p.By)
		}
		seen[p.Key] = true
	}
	return file.Prices, nil
}
