package simulator

import (
	"net/http"
	"strings"
)

// known says whether the vendor has a model of this name: any of the family's,
// and "sim" with any ending.
func known(model string) bool {
	for _, family := range [...]string{"claude-", "anthropic.claude-", "sim"} {
		if strings.HasPrefix(model, family) {
			return true
		}
	}
	return false
}

type model struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

type modelPage struct {
	Data    []model `json:"data"`
	HasMore bool    `json:"has_more"`
	FirstID string  `json:"first_id"`
	LastID  string  `json:"last_id"`
}

func newModel(id, name string) model {
	return model{Type: "model", ID: id, DisplayName: name, CreatedAt: "2026-01-01T00:00:00Z"}
}

// models answers GET /v1/models, always in one page.
func (s *Simulator) models(w http.ResponseWriter, r *http.Request) {
	if _, no := s.account(r); no != nil {
		no.write(w)
		return
	}
	list := []model{
		newModel("claude-opus-5-5", "Claude Opus 5.5"),
		newModel("claude-sonnet-5-5", "Claude Sonnet 5.5"),
		newModel("claude-haiku-4-5", "Claude Haiku 4.5"),
	}
	writeJSON(w, http.StatusOK, modelPage{Data: list, FirstID: list[0].ID, LastID: list[len(list)-1].ID})
}

// model answers GET /v1/models/{id}.
func (s *Simulator) model(w http.ResponseWriter, r *http.Request) {
	_, no := s.account(r)
	id := r.PathValue("id")
	if no == nil && !known(id) {
		no = refuse(http.StatusNotFound, "model: %s", id)
	}
	if no != nil {
		no.write(w)
		return
	}
	writeJSON(w, http.StatusOK, newModel(id, id))
}
