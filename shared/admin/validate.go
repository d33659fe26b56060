package admin

import (
	"net/mail"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/money"
)

// Bounds of what may be configured. They keep records small and scripts fast, and
// catch slips of the hand.
const (
	maxName        = 200 // characters
	maxEmail       = 254
	maxWindows     = 8
	maxBudgets     = 16
	maxMinutes     = 10_080 // a week
	maxConcurrency = 100_000
	maxFigure      = 1_000_000_000_000 // requests or tokens of a window
	maxPatterns    = 100
	maxModel       = 200 // characters of a model's name or a pattern
	maxTags        = 32
	maxTagName     = 64
	maxTagValue    = 200
)

func checkName(at, name string) error {
	n := utf8.RuneCountInString(name)
	switch {
	case strings.TrimSpace(name) == "":
		return fault.At(at, "must not be empty")
	case n > maxName:
		return fault.At(at, "has %d characters, at most %d are accepted", n, maxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fault.At(at, "must not have control characters such as line breaks")
	}
	return nil
}

func checkEmail(at, email string) error {
	if email == "" {
		return nil
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || len(email) > maxEmail {
		return fault.At(at, "%q is no e-mail address", email)
	}
	return nil
}

func checkZone(at, name string) error {
	// "Local" would be that of the server, which differs from process to process.
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		return fault.At(at, "%q is no time zone; use an IANA name such as Europe/Berlin, or leave it out for UTC", name)
	}
	return nil
}

// oneOf errs unless the value is in the list.
func oneOf[T ~string](at string, value T, list ...T) error {
	if slices.Contains(list, value) {
		return nil
	}
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return fault.At(at, "%q is not known; use %s", value, strings.Join(words, " or "))
}

// within errs unless the number is from least to most.
func within[T ~int | ~int64](at string, n, least, most T) error {
	if n < least || n > most {
		return fault.At(at, "%d is not from %d to %d", n, least, most)
	}
	return nil
}

// first is the first error of a list of checks.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkLimits(at string, l *admission.Limits) error {
	if err := within(member(at, "concurrency"), l.Concurrency, 0, maxConcurrency); err != nil {
		return err
	}
	at, windows, budgets := "", member(at, "windows"), member(at, "budgets")
	if n := len(l.Windows); n > maxWindows {
		return fault.At(windows, "has %d windows, at most %d are accepted", n, maxWindows)
	}
	for i := range l.Windows {
		at = index(windows, i)
		if err := checkWindow(at, &l.Windows[i]); err != nil {
			return err
		}
		same := func(w admission.Window) bool { return w.Minutes == l.Windows[i].Minutes }
		if slices.ContainsFunc(l.Windows[:i], same) {
			return fault.At(member(at, "minutes"), "there is a window of %d minutes already; put its limits together", l.Windows[i].Minutes)
		}
	}
	if n := len(l.Budgets); n > maxBudgets {
		return fault.At(budgets, "has %d budgets, at most %d are accepted", n, maxBudgets)
	}
	for i := range l.Budgets {
		if err := checkBudget(index(budgets, i), &l.Budgets[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkWindow(at string, w *admission.Window) error {
	if w.Requests == 0 && w.Tokens == 0 && w.USD == 0 {
		return fault.At(at, "bounds nothing; set requests, tokens or usd")
	}
	return first(
		within(member(at, "minutes"), w.Minutes, 1, maxMinutes),
		within(member(at, "requests"), w.Requests, 0, maxFigure),
		within(member(at, "tokens"), w.Tokens, 0, maxFigure),
		checkAmount(member(at, "usd"), w.USD, 0),
	)
}

func checkBudget(at string, b *admission.Budget) error {
	anchor := member(at, "anchor")
	var err error
	switch b.Per {
	case admission.Week:
		err = within(anchor, b.Anchor, 0, 7)
	case admission.Month:
		err = within(anchor, b.Anchor, 0, 28)
	default:
		if b.Anchor != 0 {
			err = fault.At(anchor, "is the first day of a week or month; leave it out of a %s budget", b.Per)
		}
	}
	return first(
		oneOf(member(at, "per"), b.Per, admission.Day, admission.Week, admission.Month, admission.Total),
		checkAmount(member(at, "usd"), b.USD, 1),
		checkPatterns(member(at, "models"), b.Models),
		err,
	)
}

func checkAmount(at string, n, least money.Nanos) error {
	switch {
	case n < least:
		return fault.At(at, "%s is too little; an amount is more than 0", n)
	case n > money.MaxLimit:
		return fault.At(at, "%s is too much; the largest limit is %s", n, money.MaxLimit)
	}
	return nil
}

func checkPatterns(at string, patterns []string) error {
	if n := len(patterns); n > maxPatterns {
		return fault.At(at, "has %d patterns, at most %d are accepted", n, maxPatterns)
	}
	for i, p := range patterns {
		if err := checkModel(index(at, i), p); err != nil {
			return err
		}
		if _, err := path.Match(p, ""); err != nil {
			return fault.At(index(at, i), "%q is no pattern; use a name, with * for any characters", p)
		}
	}
	return nil
}

func checkModel(at, name string) error {
	switch n := utf8.RuneCountInString(name); {
	case name == "":
		return fault.At(at, "must not be empty")
	case n > maxModel:
		return fault.At(at, "has %d characters, at most %d are accepted", n, maxModel)
	}
	return nil
}

func checkTags(at string, tags map[string]string) error {
	if n := len(tags); n > maxTags {
		return fault.At(at, "has %d tags, at most %d are accepted", n, maxTags)
	}
	for name, value := range tags {
		switch {
		case !isWord(name, maxTagName):
			return fault.At(at, "%q is no name of a tag; use up to %d letters, digits and . _ -", name, maxTagName)
		case utf8.RuneCountInString(value) > maxTagValue:
			return fault.At(member(at, name), "has more than %d characters", maxTagValue)
		}
	}
	return nil
}

// isWord says whether s has 1 to most letters, digits and . _ - only.
func isWord(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && r != '.' && r != '_' && r != '-'
	})
}
