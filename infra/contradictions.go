package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/config"
)

const (
	// longestDrain is the longest deregistration delay of a target group.
	longestDrain = time.Hour
	// drainMargin is what the balancer waits beyond the longest answer.
	drainMargin = time.Minute
)

// contradictions are switches that do not go together, a line each.
func (s *Switches) contradictions() []error {
	var found []error
	add := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }

	onLambda := s.Streamer == Lambda
	switch {
	case onLambda && s.Egress == Public:
		add("egress=public: Lambda functions have no public address (want ipv6, nat or endpoints)")
	case !onLambda && s.Egress == IPv6:
		add("egress=ipv6: tasks need IPv4 to fetch their image (want public, nat or endpoints)")
	}
	if s.FunctionURL && !onLambda {
		add("function_url=true: only with streamer=lambda")
	}
	if s.TasksMin > s.TasksMax {
		add("tasks_min=%d: more than tasks_max=%d", s.TasksMin, s.TasksMax)
	}
	return append(append(found, s.naming()...), s.network()...)
}

// naming checks how clients reach the relay.
func (s *Switches) naming() []error {
	var found []error
	add := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	switch {
	case s.Zone != "" && s.Domain == "":
		add("zone=%s: needs domain, the name in it", s.Zone)
	case s.Domain != "" && !s.secured():
		add("domain=%s: needs certificate (its ACM certificate) or zone (to have one issued)", s.Domain)
	case s.Streamer == Fargate && !s.secured() && slices.ContainsFunc(s.Clients, everyone):
		add("clients=%s: without a certificate keys would cross the internet in the clear (want networks of yours, such as 203.0.113.0/24)", strings.Join(s.Clients, ","))
	}
	return found
}

func everyone(network string) bool { return strings.HasSuffix(network, "/0") }

// network checks an existing VPC.
func (s *Switches) network() []error {
	var found []error
	add := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	if len(s.AZs) > 0 && len(s.AZs) != s.Zones {
		add("azs=%s: %d zones are wanted, %d are named", strings.Join(s.AZs, ","), s.Zones, len(s.AZs))
	}
	for name, ids := range map[string][]string{"public_subnets": s.PublicSubnets, "private_subnets": s.PrivateSubnets} {
		switch {
		case s.VPC == "" && len(ids) > 0:
			add("%s=%s: only with vpc", name, strings.Join(ids, ","))
		case s.VPC != "" && (len(ids) == 0 || len(ids) != len(s.AZs)):
			add("%s: vpc=%s needs one a zone in azs", name, s.VPC)
		}
	}
	if s.VPC != "" && (s.Egress == NAT || s.Egress == IPv6 || s.Egress == Endpoints) {
		return found // its routes are its owner's affair
	}
	slices.SortFunc(found, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return found
}

func streamMax(s *Switches, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Minute || d+drainMargin > longestDrain {
		return fmt.Errorf("want a duration from 1m to %s", longestDrain-drainMargin)
	}
	s.StreamMax = d.Round(time.Second)
	return nil
}

func logDays(s *Switches, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || !slices.Contains([]int{1, 3, 5, 7, 14, 30, 60, 90, 180, 365}, n) {
		return errors.New("want one of 1, 3, 5, 7, 14, 30, 60, 90, 180, 365")
	}
	s.LogDays = n
	return nil
}

// settings reads further settings of the relay. They are read here as the relay
// will read them, so that a wrong one is found before anything is deployed.
func settings(s *Switches, value string) error {
	s.Env = make(map[string]string)
	for part := range strings.SplitSeq(value, ",") {
		name, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || !strings.HasPrefix(name, "SLUICE_") {
			return fmt.Errorf("%q: want SLUICE_NAME=VALUE", part)
		}
		if slices.Contains(ownSettings, name) {
			return fmt.Errorf("%s: the deployment sets it", name)
		}
		s.Env[name] = v
	}
	var environ []string
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		environ = append(environ, name+"="+s.Env[name])
	}
	_, err := config.Read(environ)
	return err
}
