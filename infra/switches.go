package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/shared/config"
)

// The values of switches.
const (
	Small  = "small"  // profile: one task, no NAT, no interface endpoints
	HA     = "ha"     // profile: three zones, two tasks or more
	Lambda = "lambda" // profile, and host of the streamer

	Fargate = "fargate" // host of the streamer

	Public    = "public"    // egress: tasks have public addresses that only the balancer reaches
	NAT       = "nat"       // egress: through NAT gateways
	Endpoints = "endpoints" // egress: AWS only, through interface endpoints
	IPv6      = "ipv6"      // egress: IPv6 only, through an egress-only gateway

	Serverless = "serverless" // store: ElastiCache Serverless
	Nodes      = "nodes"      // store: ElastiCache nodes
	MemoryDB   = "memorydb"   // store: MemoryDB, which loses nothing in a failover
)

// Switches say what is deployed.
type Switches struct {
	Profile  string
	Streamer string // Fargate or Lambda
	Egress   string
	Store    string
	Zones    int // availability zones that are used

	Domain, Certificate, Zone string
	Clients                   []string // addresses that may connect to the balancer

	VPC                           string
	PublicSubnets, PrivateSubnets []string
	AZs                           []string

	BedrockRoles       []string
	FunctionURL        bool
	TasksMin, TasksMax int
	StreamsPerTask     int
	StreamMax          time.Duration
	LogDays            int
	AlarmEmail         string
	Qualifier          string
	Env                map[string]string // further settings of the streamer
}

// Switch is one row of the table.
type Switch struct {
	Name    string // as in -c NAME=VALUE
	Default string // as one would write it; "" = none
	Meaning string
	read    func(s *Switches, value string) error
}

// Table is every switch, in the order in which it is documented.
func Table() []Switch {
	return []Switch{
		{"profile", Small, "what the other defaults come from: small (one task), ha (three zones, two tasks or more), lambda (no task at all)",
			choice(func(s *Switches) *string { return &s.Profile }, Small, HA, Lambda)},
		{"streamer", "", "host of the relay: fargate behind a balancer, or lambda behind API Gateway; default fargate, in profile lambda lambda",
			choice(func(s *Switches) *string { return &s.Streamer }, Fargate, Lambda)},
		{"egress", "", "way to the vendors: public (addresses of the tasks' own), nat, endpoints (AWS only, so Bedrock only), ipv6 (only with streamer=lambda); default public, with streamer=lambda ipv6",
			choice(func(s *Switches) *string { return &s.Egress }, Public, NAT, Endpoints, IPv6)},
		{"store", Serverless, "serverless or nodes (ElastiCache for Valkey), or memorydb (loses nothing in a failover)",
			choice(func(s *Switches) *string { return &s.Store }, Serverless, Nodes, MemoryDB)},
		{"zones", "", "availability zones, 2 or 3; default 2, in profile ha 3",
			number(func(s *Switches) *int { return &s.Zones }, 2, 3)},
		{"azs", "", "names of the availability zones, comma-separated; default the first of the region",
			list(func(s *Switches) *[]string { return &s.AZs }, `^[a-z]{2}(-[a-z]+)+-\d[a-z]$`, "an availability zone such as eu-west-1a")},
		{"domain", "", "name under which clients reach the relay",
			text(func(s *Switches) *string { return &s.Domain }, `^([a-z0-9-]+\.)+[a-z]{2,}$`, "a host name such as llm.example.com")},
		{"certificate", "", "ARN of the ACM certificate of the domain",
			text(func(s *Switches) *string { return &s.Certificate }, `^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/.+$`, "the ARN of an ACM certificate")},
		{"zone", "", "id of the Route 53 zone of the domain: its record is kept there, and without certificate one is issued",
			text(func(s *Switches) *string { return &s.Zone }, `^Z[A-Z0-9]+$`, "the id of a hosted zone, such as Z0123456789ABC")},
		{"clients", "", "networks that may connect to the balancer, comma-separated; default everyone, without a certificate nobody: it serves plain HTTP then",
			networks},
		{"vpc", "", "id of an existing VPC; needs public_subnets, private_subnets and azs, one of each a zone",
			text(func(s *Switches) *string { return &s.VPC }, `^vpc-([0-9a-f]{8}|[0-9a-f]{17})$`, "the id of a VPC")},
		{"public_subnets", "", "ids of its public subnets, in the order of azs",
			list(func(s *Switches) *[]string { return &s.PublicSubnets }, `^subnet-([0-9a-f]{8}|[0-9a-f]{17})$`, "the id of a subnet")},
		{"private_subnets", "", "ids of its private subnets, in the order of azs",
			list(func(s *Switches) *[]string { return &s.PrivateSubnets }, `^subnet-([0-9a-f]{8}|[0-9a-f]{17})$`, "the id of a subnet")},
		{"bedrock_roles", "", "ARNs of roles in this or other accounts that the relay may assume for Bedrock, comma-separated",
			list(func(s *Switches) *[]string { return &s.BedrockRoles }, `^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`, "the ARN of a role")},
		{"function_url", "false", "with streamer=lambda: also a function URL that anyone can call, without API Gateway's limits on requests",
			boolean(func(s *Switches) *bool { return &s.FunctionURL })},
		{"tasks_min", "", "tasks that always run; default 1, in profile ha 2",
			number(func(s *Switches) *int { return &s.TasksMin }, 1, 100)},
		{"tasks_max", "10", "tasks that may run at most",
			number(func(s *Switches) *int { return &s.TasksMax }, 1, 100)},
		{"streams_per_task", "400", "streams in flight on a task, on average, above which tasks are added",
			number(func(s *Switches) *int { return &s.StreamsPerTask }, 1, 100_000)},
		{"stream_max", "30m", "longest answer (SLUICE_STREAM_MAX); a deployment waits as long for the streams of old tasks",
			streamMax},
		{"log_days", "30", "days that logs are kept: 1, 3, 5, 7, 14, 30, 60, 90, 180 or 365",
			logDays},
		{"alarm_email", "", "address that alarms are mailed to; it is asked to confirm",
			text(func(s *Switches) *string { return &s.AlarmEmail }, `^[^@\s]+@[^@\s]+\.[a-z]+$`, "an e-mail address")},
		{"qualifier", "hnb659fds", "qualifier of the CDK bootstrap of the account",
			text(func(s *Switches) *string { return &s.Qualifier }, `^[a-z0-9]{1,10}$`, "a CDK qualifier")},
		{"env", "", "further settings of the relay, NAME=VALUE, comma-separated, such as SLUICE_ATTEMPTS=2",
			settings},
	}
}

// read reads the switches out of the context of an app. Its error joins every
// problem, a line each.
func read(context any) (*Switches, error) {
	given, problems := ours(context)
	s := new(Switches)
	for _, row := range Table() {
		value, set := given[row.Name]
		if !set || value == "" {
			value = row.Default
		}
		delete(given, row.Name)
		if value == "" {
			continue
		}
		if err := row.read(s, value); err != nil {
			problems = append(problems, fmt.Errorf("%s=%s: %w", row.Name, value, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		problems = append(problems, fmt.Errorf("%s: no such switch (did you mean %s?)", name, config.Closest(name, names())))
	}
	if len(problems) == 0 {
		s.fill()
		problems = s.contradictions()
	}
	return s, errors.Join(problems...)
}

// ours is the part of a context that is for switches. Other names, such as those
// of feature flags and of the CLI, have characters that switches have not.
func ours(context any) (map[string]string, []error) {
	given := make(map[string]string)
	var problems []error
	all, _ := context.(map[string]any)
	for name, value := range all {
		if !switchName.MatchString(name) {
			continue
		}
		switch v := value.(type) {
		case string:
			given[name] = v
		case bool, float64:
			given[name] = fmt.Sprint(v)
		case []any:
			given[name] = strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")
		default:
			problems = append(problems, fmt.Errorf("%s: neither text, number, true, false nor a list of them", name))
		}
	}
	return given, problems
}

var switchName = regexp.MustCompile(`^[a-z_]+$`)

func names() []string {
	var all []string
	for _, row := range Table() {
		all = append(all, row.Name)
	}
	return all
}

// fill sets the defaults that depend on the profile.
func (s *Switches) fill() {
	host, zones, tasks := Fargate, 2, 1
	switch s.Profile {
	case HA:
		zones, tasks = 3, 2
	case Lambda:
		host = Lambda
	}
	setDefault(&s.Streamer, host)
	egress := Public
	if s.Streamer == Lambda {
		egress = IPv6
	}
	setDefault(&s.Egress, egress)
	if len(s.AZs) > 0 && s.Zones == 0 {
		zones = len(s.AZs)
	}
	setDefault(&s.Zones, zones)
	setDefault(&s.TasksMin, tasks)
	if len(s.Clients) == 0 && s.secured() {
		s.Clients = []string{"0.0.0.0/0", "::/0"}
	}
}

// secured says whether the balancer has a certificate.
func (s *Switches) secured() bool { return s.Certificate != "" || s.Zone != "" }

func setDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// printTable writes the table for people.
func printTable(w io.Writer) {
	_, _ = fmt.Fprint(w, "infra is the CDK app of Sluice; the CDK CLI runs it (make synth, make deploy).\nSwitches, given as -c NAME=VALUE or in the context of cdk.json:\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range Table() {
		_, _ = fmt.Fprintf(tw, "  %s\t%s\t%s\n", row.Name, row.Default, row.Meaning)
	}
	_ = tw.Flush() // a closed terminal needs no table
}

func choice(at func(*Switches) *string, values ...string) func(*Switches, string) error {
	return func(s *Switches, value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("want %s", strings.Join(values, ", "))
		}
		*at(s) = value
		return nil
	}
}

func number(at func(*Switches) *int, least, most int) func(*Switches, string) error {
	return func(s *Switches, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a number from %d to %d", least, most)
		}
		*at(s) = n
		return nil
	}
}

func boolean(at func(*Switches) *bool) func(*Switches, string) error {
	return func(s *Switches, value string) error {
		if value != "true" && value != "false" {
			return errors.New("want true or false")
		}
		*at(s) = value == "true"
		return nil
	}
}

func text(at func(*Switches) *string, pattern, want string) func(*Switches, string) error {
	return func(s *Switches, value string) error {
		*at(s) = value
		return like(value, pattern, want)
	}
}

func list(at func(*Switches) *[]string, pattern, want string) func(*Switches, string) error {
	return func(s *Switches, value string) error {
		for part := range strings.SplitSeq(value, ",") {
			part = strings.TrimSpace(part)
			if err := like(part, pattern, want); err != nil {
				return fmt.Errorf("%q: %w", part, err)
			}
			*at(s) = append(*at(s), part)
		}
		return nil
	}
}

func like(value, pattern, want string) error {
	if !regexp.MustCompile(pattern).MatchString(value) {
		return fmt.Errorf("want %s", want)
	}
	return nil
}

func networks(s *Switches, value string) error {
	for part := range strings.SplitSeq(value, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil || p != p.Masked() {
			return fmt.Errorf("%q: want a network such as 203.0.113.0/24", part)
		}
		s.Clients = append(s.Clients, p.String())
	}
	return nil
}
