package admin

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/secret"
)

// KeyPrefix is what every secret of a key begins with, so that people and secret
// scanners know it.
const KeyPrefix = "sk-sluice-"

// maxLifetime of a key from its first use, in seconds: ten years.
const maxLifetime = 10 * 366 * 24 * 3600

// keyFields are the writable fields of a key.
type keyFields struct {
	ownerFields
	User                 string               `json:"user,omitempty"`
	Team                 string               `json:"team,omitempty"`
	Models               admission.Models     `json:"models"`
	Dialects             []llm.Protocol       `json:"dialects,omitempty"`
	Bind                 admission.Bind       `json:"bind"`
	Hold                 admission.Hold       `json:"hold"`
	OnDisconnect         admission.Disconnect `json:"on_disconnect"`
	ExpiresAt            *time.Time           `json:"expires_at,omitempty"`
	ExpiresAfterFirstUse admission.Seconds    `json:"expires_after_first_use,omitempty"`
	Tags                 map[string]string    `json:"tags,omitempty"`
}

func keyFieldsOf(k *admission.Key) keyFields {
	return keyFields{
		ownerFields: ownerFieldsOf(&k.Owner), User: k.User, Team: k.Team, Models: k.Models, Dialects: k.Dialects, Bind: k.Bind,
		Hold: cmp.Or(k.Hold, admission.HoldNormal), OnDisconnect: cmp.Or(k.OnDisconnect, admission.Drain),
		ExpiresAt: k.ExpiresAt, ExpiresAfterFirstUse: k.ExpiresAfterFirstUse, Tags: k.Tags,
	}
}

type keyView struct {
	ID string `json:"id"`
	keyFields
	Hint string `json:"hint"`
	ownerView
	Key string `json:"key,omitempty"` // the secret, shown once
}

// keys adds to the common handling that a key has a secret.
type keys struct {
	*resource[admission.Key, keyFields, keyView]
}

func (a *api) keys() keys {
	return keys{&resource[admission.Key, keyFields, keyView]{
		api: a, kind: "key", path: "/keys", prefix: "key_", records: a.Keys,
		blank:   func(id string) admission.Key { return admission.Key{Owner: admission.Owner{ID: id}} },
		version: func(k *admission.Key) (string, int64) { return k.ID, k.Version },
		fields:  keyFieldsOf,
		apply:   a.applyKey,
		view: func(k *admission.Key) keyView {
			return keyView{ID: k.ID, keyFields: keyFieldsOf(k), Hint: k.Hint, ownerView: ownerViewOf(&k.Owner)}
		},
		detail: func(ctx context.Context, k *admission.Key, v *keyView) error {
			return a.balance(ctx, k.BudgetOwner(), &k.Owner, &v.ownerView)
		},
		filter: filterKeys, filters: []string{"user", "team", "tag"},
	}}
}

func (k keys) routes() []route {
	all := append(k.resource.routes(), route{http.MethodPost, k.path + "/{id}/rotate", k.rotate})
	for i := range all {
		if all[i].method == http.MethodPost && all[i].path == k.path {
			all[i].serve = k.create
		}
	}
	return all
}

func (k keys) create(c *call) error {
	s := secret.Mint(KeyPrefix)
	key, err := k.add(c, func(key *admission.Key) { impress(key, s) })
	if err != nil {
		return err
	}
	return k.reveal(c, http.StatusCreated, &key, s)
}

// rotate gives the key a new secret; the old one stops at once.
func (k keys) rotate(c *call) error {
	if err := c.nothing(); err != nil {
		return err
	}
	s := secret.Mint(KeyPrefix)
	key, err := k.edit(c, "rotate", func(key *admission.Key) error { impress(key, s); return nil })
	if err != nil {
		return err
	}
	return k.reveal(c, http.StatusOK, &key, s)
}

// reveal answers with the key and its secret.
func (k keys) reveal(c *call, status int, key *admission.Key, s secret.Value) error {
	v := k.view(key)
	v.Key = s.Reveal()
	return k.show(c, status, key, v)
}

// impress keeps of a secret what is kept.
func impress(k *admission.Key, s secret.Value) {
	k.Digest = admission.Digest(s)
	k.Hint = s.Hint()
}

func (a *api) applyKey(ctx context.Context, f *keyFields, k *admission.Key) error {
	err := first(
		f.applyOwner(&k.Owner),
		checkPatterns("models.allow", f.Models.Allow),
		checkPatterns("models.deny", f.Models.Deny),
		oneOf("hold", f.Hold, admission.HoldNormal, admission.HoldStrict),
		oneOf("on_disconnect", f.OnDisconnect, admission.Drain, admission.Abort),
		within("expires_after_first_use", f.ExpiresAfterFirstUse, 0, maxLifetime),
		checkTags("tags", f.Tags),
	)
	if err != nil {
		return err
	}
	for i, d := range f.Dialects {
		if err := oneOf(index("dialects", i), d, a.Dialects...); err != nil {
			return err
		}
	}
	if f.Bind != k.Bind { // what was accepted may since be gone; other changes do not depend on it
		if err := a.checkBind(ctx, &f.Bind); err != nil {
			return err
		}
	}
	k.User, k.Team, k.Models, k.Dialects, k.Bind = f.User, f.Team, f.Models, f.Dialects, f.Bind
	k.Hold, k.OnDisconnect, k.Tags = f.Hold, f.OnDisconnect, f.Tags
	k.ExpiresAt, k.ExpiresAfterFirstUse = f.ExpiresAt, f.ExpiresAfterFirstUse
	return nil
}

func (a *api) checkBind(ctx context.Context, b *admission.Bind) error {
	switch {
	case b.Account != "" && b.Group != "":
		return fault.At("bind", "is to an account or to a group, not to both")
	case b.Group != "" && !isWord(b.Group, maxGroupName):
		return fault.At("bind.group", "%q is no name of a group", b.Group)
	case b.Account == "":
		return nil
	}
	_, err := a.Accounts.Get(ctx, b.Account)
	if fault.CodeOf(err) == fault.NotFound {
		return fault.At("bind.account", "there is no account %q", b.Account)
	}
	return err
}

// filterKeys keeps the keys of a user, of a team, or with a tag: its name, or
// name:value.
func filterKeys(q url.Values) (func(*admission.Key) bool, error) {
	user, team := q.Get("user"), q.Get("team")
	name, value, valued := strings.Cut(q.Get("tag"), ":")
	return func(k *admission.Key) bool {
		has, tagged := k.Tags[name]
		return (user == "" || k.User == user) && (team == "" || k.Team == team) &&
			(name == "" || tagged && (!valued || has == value))
	}, nil
}
