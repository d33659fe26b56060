package usage

import (
	"strings"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
)

// MaxPage is the largest number of records that one page holds.
const MaxPage = 200

// Query selects records. The zero value of a filter selects all.
type Query struct {
	From time.Time // settled at or after; zero = the oldest there is
	To   time.Time // settled before; zero = now

	Key     string // id
	User    string // id
	Team    string // id
	Account string // id
	Model   string // as the client named it

	Cursor string // of a Page, for the page after it; "" = the first
	Limit  int    // records a page, 1 to MaxPage; 0 = MaxPage

	Grain   Grain          // of a sum; "" = Day
	GroupBy []Dimension    // of a sum; empty = one row a bucket
	Zone    *time.Location // of the buckets' boundaries; nil = UTC
}

// Matches says whether the filters select a record; the time is not looked at.
func (q *Query) Matches(r *Record) bool {
	return (q.Key == "" || q.Key == r.Key) &&
		(q.User == "" || q.User == r.User) &&
		(q.Team == "" || q.Team == r.Team) &&
		(q.Account == "" || q.Account == r.Account) &&
		(q.Model == "" || q.Model == r.Model)
}

// Page is a part of the records that a Query selects, newest first.
type Page struct {
	Records []Record
	Next    string // cursor of the page after this; "" = this is the last
}

// Row is the sum of the records of one bucket and group. Tokens are those that
// are known: a figure that the vendor did not give counts as zero.
type Row struct {
	Bucket       time.Time   `json:"bucket"`        // its beginning
	UTC          bool        `json:"utc,omitempty"` // it has days or months of UTC in it: what is that old is not kept by hours
	Group        []string    `json:"-"`             // values in the order of Query.GroupBy; "" = the record has none
	Requests     int64       `json:"requests"`
	Estimated    int64       `json:"estimated"` // requests with a figure that is not the vendor's
	Unpriced     int64       `json:"unpriced"`  // requests whose cost lacks something
	Input        int64       `json:"input"`
	Output       int64       `json:"output"`
	CacheRead    int64       `json:"cache_read"`
	CacheWrite5m int64       `json:"cache_write_5m"`
	CacheWrite1h int64       `json:"cache_write_1h"`
	Reasoning    int64       `json:"reasoning"` // part of Output
	Cost         money.Nanos `json:"cost_usd"`
}

// Add counts a record in the row, in place of the one that it corrects, if any.
func (w *Row) Add(r *Record) {
	w.count(r, 1)
	if r.Corrects != nil {
		w.count(r.Corrects, -1)
	}
}

// count adds a record, or takes it away when sign is -1.
func (w *Row) count(r *Record, sign int64) {
	w.Requests += sign
	if r.Estimated {
		w.Estimated += sign
	}
	if r.Unpriced {
		w.Unpriced += sign
	}
	u := &r.Usage
	w.Input += sign * llm.Count(u.Input)
	w.Output += sign * llm.Count(u.Output)
	w.CacheRead += sign * llm.Count(u.CacheRead)
	w.CacheWrite5m += sign * llm.Count(u.CacheWrite5m)
	w.CacheWrite1h += sign * llm.Count(u.CacheWrite1h)
	w.Reasoning += sign * llm.Count(u.Reasoning)
	w.Cost += money.Nanos(sign) * r.Cost
}

// Grain is the length of a bucket.
type Grain string

// The grains.
const (
	Hour  Grain = "hour"
	Day   Grain = "day"
	Month Grain = "month"
)

// Valid says whether the grain is one of the list.
func (g Grain) Valid() bool { return g == Hour || g == Day || g == Month }

// Start is the beginning of the bucket that t lies in, by the calendar of t's
// time zone.
func (g Grain) Start(t time.Time) time.Time {
	switch g {
	case Hour:
		// Cut from the instant, so that the two hours of one name, when clocks
		// are set back, stay apart.
		into := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
		return t.Add(-into)
	case Month:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location())
	default:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	}
}

// Dimension is what sums are grouped by: one of the constants, or "tag:" and the
// name of a tag.
type Dimension string

// The dimensions beside tags.
const (
	ByKey     Dimension = "key"
	ByModel   Dimension = "model"
	ByAccount Dimension = "account"
	ByUser    Dimension = "user"
	ByTeam    Dimension = "team"
)

const tagPrefix = "tag:"

// ParseDimension reads a dimension. It errs with fault.Invalid.
func ParseDimension(s string) (Dimension, error) {
	switch d := Dimension(s); d {
	case ByKey, ByModel, ByAccount, ByUser, ByTeam:
		return d, nil
	}
	if name, isTag := strings.CutPrefix(s, tagPrefix); isTag && name != "" {
		return Dimension(s), nil
	}
	return "", fault.New(fault.Invalid, "%q is no dimension; use key, model, account, user, team or tag:<name>", s)
}

// Of is the record's value of the dimension, "" when it has none.
func (d Dimension) Of(r *Record) string {
	switch d {
	case ByKey:
		return r.Key
	case ByModel:
		return r.Model
	case ByAccount:
		return r.Account
	case ByUser:
		return r.User
	case ByTeam:
		return r.Team
	}
	if name, isTag := strings.CutPrefix(string(d), tagPrefix); isTag {
		return r.Tags[name]
	}
	return ""
}
