package pool

import (
	"cmp"
	"math"
	"path"
	"slices"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
)

// snapshot is the accounts as of one version. It never changes.
type snapshot struct {
	version int64
	entries []entry
}

// entry is an account with what ordering needs of it.
type entry struct {
	account  Account
	provider provider.Provider
	speaks   []llm.Protocol // of the provider
	hash     uint64         // of the account's id
}

func newEntry(a Account, p provider.Provider) entry {
	return entry{account: a, provider: p, speaks: p.Speaks(), hash: hash64(a.ID)}
}

// ranked is an entry with its place in the order of one session.
type ranked struct {
	entry *entry
	score float64
}

// rank lists the entries that may serve w, preferred first, leaving out those
// whose ids were tried. resting counts those that would serve but for being
// paused or drained.
func (s *snapshot) rank(w *Want, tried []string) (order []ranked, resting int) {
	seed := sessionHash(w)
	for i := range s.entries {
		e := &s.entries[i]
		if !e.serves(w) {
			continue
		}
		if e.account.Paused || e.account.Weight <= 0 && w.Account == "" {
			resting++
			continue
		}
		if !slices.Contains(tried, e.account.ID) {
			if order == nil {
				order = make([]ranked, 0, len(s.entries)-i)
			}
			order = append(order, ranked{e, score(seed, e)})
		}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		return cmp.Or(
			cmp.Compare(a.entry.account.Priority, b.entry.account.Priority),
			cmp.Compare(b.score, a.score),
			cmp.Compare(a.entry.account.ID, b.entry.account.ID),
		)
	})
	return order, resting
}

// serves says whether the account is configured to serve w, whatever its state.
func (e *entry) serves(w *Want) bool {
	a := &e.account
	switch {
	case w.Account != "" && a.ID != w.Account,
		w.Group != "" && !slices.Contains(a.Groups, w.Group),
		!slices.Contains(e.speaks, w.Protocol):
		return false
	}
	return a.Models.Serve(w.Model)
}

// Serve says whether clients may ask the account for the model: it has a name
// mapped for it, or allows it.
func (m *ModelRules) Serve(model string) bool {
	if _, mapped := m.Map[model]; mapped || len(m.Allow) == 0 {
		return true
	}
	return slices.ContainsFunc(m.Allow, func(pattern string) bool {
		ok, err := path.Match(pattern, model)
		return ok && err == nil // a malformed pattern matches nothing; it is logged when the accounts are read
	})
}

// malformed is the first pattern that is none, or "".
func (m *ModelRules) malformed() string {
	for _, pattern := range m.Allow {
		if _, err := path.Match(pattern, ""); err != nil {
			return pattern
		}
	}
	return ""
}

// upstream is the vendor's name of the model.
func (m *ModelRules) upstream(model string) string { return cmp.Or(m.Map[model], model) }

// score places an account in the order of a session by weighted rendezvous
// hashing: over all sessions an account comes first in proportion to its weight,
// and adding an account moves only the sessions that it wins.
func score(session uint64, e *entry) float64 {
	return -float64(max(e.account.Weight, 1)) / math.Log(unit(mix(session^e.hash)))
}

// sessionHash is the hash of the session within its key. A call without a session
// is a session of its own.
func sessionHash(w *Want) uint64 {
	if w.Session == "" {
		return hash64(w.Call)
	}
	return mix(hash64(w.Key)) ^ hash64(w.Session)
}

// hash64 is FNV-1a, which every replica computes alike.
func hash64(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads the entropy of h over all its bits (the finalizer of MurmurHash3);
// FNV alone leaves the high bits of short, similar names nearly equal.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// unit maps h to a number above 0 and below 1.
func unit(h uint64) float64 { return (float64(h>>12) + 0.5) / (1 << 52) }

// noAccount is why no account is left for w at all.
func noAccount(w *Want, resting int) error {
	of := ""
	switch {
	case w.Account != "":
		of = " on the account that the key is bound to"
	case w.Group != "":
		of = " in the group " + w.Group
	}
	if resting > 0 {
		return fault.New(fault.Busy, "every account for model %q%s is paused", w.Model, of).After(restingRetry)
	}
	return fault.New(fault.NoAccount, "no account is configured for model %q%s", w.Model, of)
}
