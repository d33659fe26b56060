package main

import (
	"fmt"
	"io"
	"strings"

	"sluice/shared/money"
	"sluice/shared/secret"
)

// outcome is what became of a check.
type outcome string

const (
	yes       outcome = "yes"         // it was seen to work
	no        outcome = "no"          // it was seen not to work
	unchecked outcome = "not checked" // nothing was seen; never taken for a yes
)

// finding is the outcome of a check and one line of what was seen.
type finding struct {
	outcome outcome
	saw     string
}

func works(format string, args ...any) finding {
	return finding{yes, fmt.Sprintf(format, args...)}
}

func fails(format string, args ...any) finding {
	return finding{no, fmt.Sprintf(format, args...)}
}

// skip is the finding of a check that could not be made, and why.
func skip(format string, args ...any) finding {
	return finding{unchecked, fmt.Sprintf(format, args...)}
}

// The exit codes of the program.
const (
	exitYes      = 0 // nothing was seen not to work
	exitNo       = 1 // something was
	exitUnusable = 2 // the checks could not be made, or not to their end
)

// report prints findings as they come and counts them.
type report struct {
	out     io.Writer
	counts  map[outcome]int
	secrets []secret.Value
}

func newReport(out io.Writer) *report {
	return &report{out: out, counts: make(map[outcome]int)}
}

// conceal keeps a secret out of the report even if an answer that is quoted in it
// repeats one.
func (r *report) conceal(s secret.Value) {
	if !s.Empty() {
		r.secrets = append(r.secrets, s)
	}
}

// line prints one line.
func (r *report) line(format string, args ...any) {
	_, _ = fmt.Fprintln(r.out, r.clean(fmt.Sprintf(format, args...))) // a closed terminal stops no check
}

// add prints a finding.
func (r *report) add(name string, f finding) {
	r.counts[f.outcome]++
	_, _ = fmt.Fprintf(r.out, "  %-12s %-12s %s\n", f.outcome, name, r.clean(f.saw)) // a closed terminal stops no check
}

// clean makes one line of a text, which may quote an answer, without secrets.
func (r *report) clean(text string) string {
	for _, s := range r.secrets {
		text = strings.ReplaceAll(text, s.Reveal(), s.String())
	}
	return strings.Join(strings.Fields(text), " ")
}

// bill is what a run cost.
type bill struct {
	calls  int
	cost   money.Nanos
	known  bool // the records were read
	open   bool // calls may be missing: they were not waited for, or did not settle
	trials int  // tests of accounts, which the vendor bills and no key pays for
}

// close prints the counts, what the run cost and what is left of it.
func (r *report) close(b bill, left []string) {
	r.line("")
	r.line("%d yes, %d no, %d not checked", r.counts[yes], r.counts[no], r.counts[unchecked])
	switch {
	case !b.known:
		r.line("cost: unknown, the records of the key were not read")
	case b.open:
		r.line("cost: at least $%s by the records of the key (calls: %d); a call may still be open", b.cost, b.calls)
	default:
		r.line("cost: $%s by the records of the key (calls: %d)", b.cost, b.calls)
	}
	if b.trials > 0 {
		r.line("cost: beside that a few tokens for each test of an account (tests: %d), which no record holds", b.trials)
	}
	if len(left) == 0 {
		r.line("left behind: nothing but usage records")
	}
	for _, l := range left {
		r.line("left behind: %s", l)
	}
}

// code is the exit code.
func (r *report) code(interrupted bool) int {
	switch {
	case interrupted:
		return exitUnusable
	case r.counts[no] > 0:
		return exitNo
	}
	return exitYes
}
