package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// resolver looks up the addresses of a name, as net.Resolver does; network is
// "ip4" or "ip6". It errs with *net.DNSError, IsNotFound when there are none.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// resolving is how long all lookups together may take.
const resolving = 30 * time.Second

// reach is whether a name can be reached over IPv6.
type reach int

const (
	reachable reach = iota
	unreachable
	absent  // there is no such name
	unknown // it could not be looked up
)

// probe is the subcommand.
func (t *tool) probe(ctx context.Context, args []string) error {
	var p place
	flags := t.flags("probe")
	p.regionFlag(flags)
	strict := flags.Bool("strict", false, "exit with 1 when something is not reachable, or not known to be")
	if err := t.parse(flags, args, &p); err != nil {
		return err
	}
	s, err := t.aws(ctx, p.region)
	if err != nil {
		return err
	}
	if s.region == "" {
		return fmt.Errorf("no region: give --region, or set AWS_REGION: %w", errUsage)
	}
	ctx, cancel := context.WithTimeout(ctx, resolving)
	defer cancel()
	var warnings []string
	for _, v := range append(services(s.region), others(flags.Args())...) {
		warning, err := t.ask(ctx, v)
		if err != nil {
			return err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if err := t.conclude(warnings); err != nil {
		return err
	}
	if *strict && len(warnings) > 0 {
		return errNo
	}
	return nil
}

// ask looks up the names of a service, prints a line for each, and says in words
// what does not work; "" when its ordinary name is reachable.
func (t *tool) ask(ctx context.Context, s service) (string, error) {
	best, by := unreachable, ""
	for i, host := range s.hosts {
		found, seen := lookup(ctx, t.resolver, host)
		if found == absent && i == 0 && !s.regional {
			found = unknown // it is there: whoever was asked does not know the world
		}
		mark := map[reach]string{reachable: "yes", unreachable: "no", absent: "no", unknown: "?"}[found]
		if _, err := fmt.Fprintf(t.out, "%-3s  %-15s  %-54s  %s\n", mark, s.name, host, seen); err != nil {
			return "", err
		}
		switch {
		case found == reachable && best != reachable:
			best, by = found, host
			if i == 0 {
				by = ""
			}
		case found == unknown && best == unreachable:
			best = unknown
		}
	}
	switch {
	case best == unknown:
		return s.name + ": not known, its names could not be looked up", nil
	case best == unreachable:
		return s.name + ": " + s.lost, nil
	case by != "":
		return fmt.Sprintf("%s: only as %s; %s", s.name, by, s.second), nil
	}
	return "", nil
}

// conclude prints what all of it means for the lambda profile.
func (t *tool) conclude(warnings []string) error {
	text := "\nThe lambda profile has no way out but IPv6. From there all of these can be reached.\n"
	if len(warnings) > 0 {
		text = "\nThe lambda profile has no way out but IPv6. From there:\n"
		for _, w := range warnings {
			text += "  " + w + "\n"
		}
	}
	_, err := fmt.Fprint(t.out, text)
	return err
}

// lookup says whether a name has an IPv6 address of its own, and what was seen.
func lookup(ctx context.Context, r resolver, host string) (reach, string) {
	found, err := r.LookupNetIP(ctx, "ip6", host)
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && !failed.IsNotFound:
		return unknown, "not looked up: " + failed.Err
	case err != nil && failed == nil:
		return unknown, "not looked up: " + err.Error()
	}
	for _, a := range found {
		if own(a) {
			return reachable, a.String()
		}
	}
	if len(found) > 0 {
		return unreachable, "IPv4 only (" + found[0].String() + " is made from it)"
	}
	switch found, err = r.LookupNetIP(ctx, "ip4", host); {
	case len(found) > 0:
		return unreachable, "IPv4 only"
	case errors.As(err, &failed) && failed.IsNotFound:
		return absent, "no such name"
	}
	return unreachable, "no IPv6 address"
}

// own says whether an address is one that its host has. Resolvers make IPv6
// addresses for hosts that have none: IPv4 ones in IPv6 notation, and those of
// DNS64 (RFC 6052), behind which a NAT must sit.
func own(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !netip.MustParsePrefix("64:ff9b::/96").Contains(a)
}
