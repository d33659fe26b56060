package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"

	"sluice/infra/image"
)

// command is a subcommand.
type command struct {
	name, arguments, about string
	run                    func(t *tool, ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"check", "[flags]", "checks what a deployment needs, a line each, with the fix", (*tool).check},
		{"push", "[flags]", "builds the image of the streamer, pushes it, prints its reference", (*tool).push},
		{"probe", "[flags] [host...]", "tells who can be reached over IPv6, as the lambda profile must", (*tool).probe},
	}
}

// dispatch finds and runs the subcommand.
func (t *tool) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.Join(t.usage(t.err), fmt.Errorf("no subcommand: %w", errUsage))
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		return t.usage(t.out)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(t, ctx, args[1:])
		}
	}
	return fmt.Errorf("unknown subcommand %q (want check, push or probe): %w", args[0], errUsage)
}

func (t *tool) usage(w io.Writer) error {
	text := "deploy does what CDK cannot.\n\n"
	for _, c := range commands() {
		text += fmt.Sprintf("  deploy %-6s %s\n", c.name, c.about)
	}
	_, err := fmt.Fprint(w, text+"\nEach has flags: deploy check --help\n")
	return err
}

// place is the AWS environment that a subcommand is about, besides the account.
type place struct{ region, qualifier string }

// flags makes the flags of a subcommand.
func (t *tool) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // parse says what is wrong, once
	return flags
}

func (p *place) regionFlag(flags *flag.FlagSet) {
	flags.StringVar(&p.region, "region", "", "AWS `region`; empty = that of AWS_REGION or of the profile")
}

func (p *place) qualifierFlag(flags *flag.FlagSet) {
	flags.StringVar(&p.qualifier, "qualifier", image.DefaultQualifier, "`name` that cdk bootstrap was given as --qualifier")
}

// parse reads arguments, and answers --help.
func (t *tool) parse(flags *flag.FlagSet, args []string, p *place) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return errors.Join(err, t.help(flags))
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", flags.Name(), err, errUsage)
	}
	// Both become part of host names and commands.
	if p.region != "" && !regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`).MatchString(p.region) {
		return fmt.Errorf("--region %q is no region (want e.g. eu-west-1): %w", p.region, errUsage)
	}
	// The pattern is that of the bootstrap template's parameter Qualifier.
	if p.qualifier != "" && !regexp.MustCompile(`^[A-Za-z0-9_-]{1,10}$`).MatchString(p.qualifier) {
		return fmt.Errorf("--qualifier %q is none (want 1 to 10 letters, digits, _ or -): %w", p.qualifier, errUsage)
	}
	return nil
}

func (t *tool) help(flags *flag.FlagSet) error {
	for _, c := range commands() {
		if c.name != flags.Name() {
			continue
		}
		if _, err := fmt.Fprintf(t.out, "deploy %s %s\n%s.\n\n", c.name, c.arguments, c.about); err != nil {
			return err
		}
	}
	flags.SetOutput(t.out)
	flags.PrintDefaults()
	return nil
}
