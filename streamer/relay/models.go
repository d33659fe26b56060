package relay

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
)

// modelInfo is a model as Anthropic's Models API lists it.
type modelInfo struct {
	Type        string    `json:"type"`
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	CreatedAt   time.Time `json:"created_at"`
}

// models lists the models that the key may use and some account serves, newest
// first, in pages as Anthropic's Models API does.
func (rl *Relay) models(x *exchange) error {
	if err := rl.holder(x); err != nil {
		return err
	}
	list, err := rl.available(x)
	if err != nil {
		return err
	}
	page, more, err := pageOf(list, x.r)
	if err != nil {
		return err
	}
	answer := struct {
		Data    []modelInfo `json:"data"`
		HasMore bool        `json:"has_more"`
		FirstID *string     `json:"first_id"`
		LastID  *string     `json:"last_id"`
	}{Data: page, HasMore: more}
	if len(page) > 0 {
		answer.FirstID, answer.LastID = &page[0].ID, &page[len(page)-1].ID
	}
	return x.reply(answer)
}

// model shows one model.
func (rl *Relay) model(x *exchange) error {
	if err := rl.holder(x); err != nil {
		return err
	}
	list, err := rl.available(x)
	if err != nil {
		return err
	}
	id := x.r.PathValue("id")
	i := slices.IndexFunc(list, func(m modelInfo) bool { return m.ID == id })
	if i < 0 {
		return fault.New(fault.NotFound, "model: %s", id)
	}
	return x.reply(list[i])
}

func (rl *Relay) available(x *exchange) ([]modelInfo, error) {
	list := []modelInfo{}
	for _, m := range rl.Prices.Models("") {
		if !x.key.Key.Models.Allows(m.ID) {
			continue
		}
		_, err := rl.Router.Candidates(x.ctx, pool.Want{
			Model: m.ID, Protocol: llm.Anthropic, Account: x.key.Key.Bind.Account, Group: x.key.Key.Bind.Group,
		})
		switch {
		case err == nil:
			list = append(list, modelInfo{Type: "model", ID: m.ID, DisplayName: m.DisplayName, CreatedAt: m.CreatedAt})
		case fault.CodeOf(err) != fault.NoAccount && fault.CodeOf(err) != fault.Busy:
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b modelInfo) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// pageOf is the part of the list that the query asks for: ?limit=, and ?after_id=
// or ?before_id=.
func pageOf(list []modelInfo, r *http.Request) (page []modelInfo, more bool, err error) {
	const usual, most = 20, 1000
	limit, query := usual, r.URL.Query()
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > most {
			return nil, false, fault.At("limit", "%q is not a number from 1 to %d", text, most)
		}
	}
	at := func(id string) int {
		return slices.IndexFunc(list, func(m modelInfo) bool { return m.ID == id })
	}
	if id := query.Get("before_id"); id != "" {
		end := max(at(id), 0)
		begin := max(end-limit, 0)
		return list[begin:end], begin > 0, nil
	}
	begin := 0
	if id := query.Get("after_id"); id != "" {
		begin = at(id) + 1
	}
	end := min(begin+limit, len(list))
	return list[begin:end], end < len(list), nil
}

// reply answers with JSON.
func (x *exchange) reply(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if _, err := x.w.Write(b); err != nil {
		return fault.Wrap(fault.Gone, err, "the client left")
	}
	return nil
}
