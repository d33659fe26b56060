package pricing

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
)

//go:embed prices.json
var builtIn []byte

// Default is the built-in table.
func Default() (*Table, error) { return Load(bytes.NewReader(builtIn)) }

// The form of a price file.
type (
	fileTable struct {
		About   string            `json:"about"`
		Tiers   map[string]string `json:"tiers"`
		Regions map[string]string `json:"regions"`
		Models  []fileModel       `json:"models"`
	}
	fileModel struct {
		Provider      string                 `json:"provider"`
		ID            string                 `json:"id"`
		Name          string                 `json:"name"`
		Aliases       []string               `json:"aliases"`
		Family        string                 `json:"family"`
		Released      string                 `json:"released"`
		ContextWindow int64                  `json:"context_window"`
		MaxOutput     int64                  `json:"max_output"`
		Speeds        map[string]string      `json:"speeds"`
		Rates         []fileRates            `json:"rates"`
		Units         map[llm.Unit]fileMoney `json:"units"`
		Source        string                 `json:"source"`
	}
	fileRates struct {
		From string `json:"from"`
		filePrices
		Long *struct {
			Over int64 `json:"over"`
			filePrices
		} `json:"long"`
	}
	filePrices struct {
		Input        fileMoney `json:"input"`
		Output       fileMoney `json:"output"`
		CacheRead    fileMoney `json:"cache_read"`
		CacheWrite5m fileMoney `json:"cache_write_5m"`
		CacheWrite1h fileMoney `json:"cache_write_1h"`
	}
)

// fileMoney is a decimal amount that must be there.
type fileMoney struct {
	nanos money.Nanos
	set   bool
}

func (m *fileMoney) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return money.ErrSyntax
	}
	n, err := money.Parse(text)
	m.nanos, m.set = n, err == nil
	return err
}

// Load reads a table. It errs with fault.Invalid naming the model and the field.
func Load(r io.Reader) (*Table, error) {
	var f fileTable
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the price file cannot be read: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fault.New(fault.Invalid, "the price file has something after its end")
	}
	tiers, err := factors(f.Tiers)
	if err != nil {
		return nil, fault.At("tiers", "%v", err)
	}
	regions, err := factors(f.Regions)
	if err != nil {
		return nil, fault.At("regions", "%v", err)
	}
	t := &Table{models: make([]model, len(f.Models)), byName: make(map[name]*model)}
	for i := range f.Models {
		m := &f.Models[i]
		at := fmt.Sprintf("models[%d] (%s)", i, m.ID)
		if t.models[i], err = m.build(tiers, regions); err != nil {
			return nil, fault.At(at, "%v", err)
		}
		for _, n := range append([]string{m.ID}, m.Aliases...) {
			if err := t.add(name{m.Provider, n}, &t.models[i]); err != nil {
				return nil, fault.At(at, "%v", err)
			}
		}
	}
	slices.SortStableFunc(t.patterns, func(a, b pattern) int { return cmp.Compare(len(b.model), len(a.model)) })
	return t, nil
}

// add makes a model known by a name or pattern.
func (t *Table) add(n name, m *model) error {
	if t.byName[n] != nil {
		return fmt.Errorf("the name %q is there twice", n.model)
	}
	t.byName[n] = m
	if !isPattern(n.model) {
		return nil
	}
	if _, err := path.Match(n.model, ""); err != nil {
		return fmt.Errorf("%q is no pattern", n.model)
	}
	t.patterns = append(t.patterns, pattern{n, m})
	return nil
}

func (f *fileModel) build(tiers, regions map[string]int64) (model, error) {
	m := model{provider: f.Provider, id: f.ID, name: f.Name, family: f.Family, released: time.Unix(0, 0).UTC()}
	if f.ID == "" || f.Name == "" || f.Family == "" || f.Source == "" {
		return m, errors.New("id, name, family and source are required")
	}
	if f.ContextWindow <= 0 || f.MaxOutput <= 0 {
		return m, errors.New("context_window and max_output must be above 0")
	}
	if len(f.Rates) == 0 {
		return m, errors.New("rates: at least one is required")
	}
	var err error
	if f.Released != "" {
		if m.released, err = time.Parse(time.DateOnly, f.Released); err != nil {
			return m, fmt.Errorf("released: %q is no date (want 2026-01-31)", f.Released)
		}
	}
	m.price = Price{
		Family: f.Family, ContextWindow: f.ContextWindow, MaxOutput: f.MaxOutput,
		tiers: tiers, regions: regions, units: make(map[llm.Unit]money.Nanos, len(f.Units)),
	}
	if m.price.speeds, err = factors(f.Speeds); err != nil {
		return m, fmt.Errorf("speeds: %w", err)
	}
	for unit, each := range f.Units {
		if each.nanos > maxRate {
			return m, fmt.Errorf("units: %s: a price is at most $%s", unit, maxRate)
		}
		m.price.units[unit] = each.nanos
	}
	for i := range f.Rates {
		d, err := f.Rates[i].build()
		if err != nil {
			return m, fmt.Errorf("rates[%d]: %w", i, err)
		}
		if i > 0 && !d.from.After(m.dated[i-1].from) {
			return m, fmt.Errorf("rates[%d]: from: %s is not after the rate before", i, f.Rates[i].From)
		}
		m.dated = append(m.dated, d)
	}
	return m, nil
}

func (f *fileRates) build() (dated, error) {
	var d dated
	var err error
	if d.from, err = time.Parse(time.DateOnly, f.From); err != nil {
		return d, fmt.Errorf("from: %q is no date (want 2026-01-31)", f.From)
	}
	if d.rates, err = f.filePrices.build(); err != nil {
		return d, err
	}
	if f.Long != nil {
		if d.over = f.Long.Over; d.over <= 0 {
			return d, errors.New("long.over: must be above 0")
		}
		if d.long, err = f.Long.build(); err != nil {
			return d, fmt.Errorf("long.%w", err)
		}
	}
	return d, nil
}

func (f *filePrices) build() (Rates, error) {
	for _, p := range [...]struct {
		name string
		fileMoney
	}{
		{"input", f.Input}, {"output", f.Output}, {"cache_read", f.CacheRead},
		{"cache_write_5m", f.CacheWrite5m}, {"cache_write_1h", f.CacheWrite1h},
	} {
		if !p.set {
			return Rates{}, fmt.Errorf("%s: a price is required", p.name)
		}
		if p.nanos > maxRate {
			return Rates{}, fmt.Errorf("%s: a price is at most $%s", p.name, maxRate)
		}
	}
	return Rates{f.Input.nanos, f.Output.nanos, f.CacheRead.nanos, f.CacheWrite5m.nanos, f.CacheWrite1h.nanos}, nil
}

func factors(texts map[string]string) (map[string]int64, error) {
	list := make(map[string]int64, len(texts))
	for name, text := range texts {
		f, ok := thousandths(text)
		if !ok {
			return nil, fmt.Errorf("%s: %q is no factor (want e.g. 1.1, at most 20)", name, text)
		}
		list[name] = f
	}
	return list, nil
}
