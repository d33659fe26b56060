package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/shared/fault"
	"sluice/shared/usage"
)

// maxGroupBy is how many dimensions a sum may have.
const maxGroupBy = 4

// selectors are the parameters that select records.
func selectors(more ...string) []string {
	return append([]string{"from", "to", "time_zone", "key", "user", "team", "account", "model"}, more...)
}

// selection is the query that the parameters make. Unless they say otherwise its
// time ends now and begins where since says.
func (a *api) selection(q url.Values, since func(to time.Time) time.Time) (usage.Query, error) {
	u := usage.Query{Key: q.Get("key"), User: q.Get("user"), Team: q.Get("team"), Account: q.Get("account"), Model: q.Get("model")}
	var err error
	if u.Zone, err = location(q); err != nil {
		return u, err
	}
	if u.To, err = moment(q, "to", u.Zone, time.Time{}); err != nil {
		return u, err
	}
	to := u.To
	if to.IsZero() { // left open, as the clock of the store may be ahead
		to = a.Now().In(u.Zone)
	}
	if u.From, err = moment(q, "from", u.Zone, since(to)); err != nil {
		return u, err
	}
	if !u.From.Before(to) {
		return u, fault.At("from", "must be before to (%s)", to.Format(time.RFC3339))
	}
	return u, nil
}

// sums answers GET /usage.
func (a *api) sums(c *call) error {
	q, err := c.query(selectors("grain", "group_by")...)
	if err != nil {
		return err
	}
	grain := usage.Grain(q.Get("grain"))
	if grain == "" {
		grain = usage.Day
	}
	if err := oneOf("grain", grain, usage.Hour, usage.Day, usage.Month); err != nil {
		return err
	}
	query, err := a.selection(q, func(to time.Time) time.Time { return lately(grain, to) })
	if err != nil {
		return err
	}
	query.Grain = grain
	if query.GroupBy, err = dimensions(q.Get("group_by")); err != nil {
		return err
	}
	rows, err := a.Usage.Sum(c.r.Context(), query)
	if err != nil {
		return err
	}
	data := make([]sumRow, len(rows))
	for i := range rows {
		data[i] = sumRow{rows[i], query.GroupBy}
	}
	return c.json(http.StatusOK, map[string]any{"data": data})
}

// lately is where a sum begins that does not say.
func lately(g usage.Grain, to time.Time) time.Time {
	switch g {
	case usage.Hour:
		return g.Start(to.Add(-24 * time.Hour))
	case usage.Month:
		return g.Start(to).AddDate(-1, 0, 0)
	default:
		return g.Start(to.AddDate(0, 0, -30))
	}
}

// dimensions reads the names of dimensions, separated by commas.
func dimensions(text string) ([]usage.Dimension, error) {
	if text == "" {
		return nil, nil
	}
	var by []usage.Dimension
	for name := range strings.SplitSeq(text, ",") {
		d, err := usage.ParseDimension(strings.TrimSpace(name))
		if err != nil {
			f := fault.From(err)
			f.Field = "group_by"
			return nil, f
		}
		if slices.Contains(by, d) {
			return nil, fault.At("group_by", "%q occurs twice", d)
		}
		by = append(by, d)
	}
	if len(by) > maxGroupBy {
		return nil, fault.At("group_by", "has %d dimensions, at most %d are accepted", len(by), maxGroupBy)
	}
	return by, nil
}

// sumRow is a row with its groups as members beside the figures.
type sumRow struct {
	usage.Row
	by []usage.Dimension
}

// MarshalJSON puts the groups ahead of the figures.
func (r sumRow) MarshalJSON() ([]byte, error) {
	figures, err := json.Marshal(r.Row)
	if err != nil || len(r.by) == 0 {
		return figures, err
	}
	b := []byte{'{'}
	for i, d := range r.by {
		name, err := json.Marshal(string(d))
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(r.Group[i])
		if err != nil {
			return nil, err
		}
		b = append(append(append(append(b, name...), ':'), value...), ',')
	}
	return append(b, figures[1:]...), nil
}

// calls answers GET /usage/records.
func (a *api) calls(c *call) error {
	q, err := c.query(selectors("cursor", "limit")...)
	if err != nil {
		return err
	}
	query, err := a.selection(q, func(time.Time) time.Time { return time.Time{} })
	if err != nil {
		return err
	}
	if query.Limit, err = number(q, "limit", defaultPage, 1, usage.MaxPage); err != nil {
		return err
	}
	query.Cursor = q.Get("cursor")
	p, err := a.Usage.Records(c.r.Context(), query)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, newPage(p.Records, p.Next))
}
