// Command infra is the CDK app that deploys Sluice, as two stacks: SluiceData
// holds what must outlive a deployment (network, store, buckets, keys, secrets),
// SluiceApp everything that can be made again from it.
//
// The CDK CLI runs it, as cdk.json says. What it builds is chosen by switches,
// given as -c NAME=VALUE or in the context of cdk.json; see Table. A wrong one
// ends it with one line before anything is synthesized.
package main

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

func main() {
	if len(os.Args) > 1 {
		printTable(os.Stdout)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	defer jsii.Close()
	app := awscdk.NewApp(nil)
	switches, err := read(app.Node().GetAllContext(nil))
	if err != nil {
		return fmt.Errorf("nothing was synthesized:\n%w\n(bin/infra --help lists all switches)", err)
	}
	artifacts, err := built("bin")
	if err != nil {
		return err
	}
	deploy(app, switches, artifacts)
	app.Synth(nil)
	return nil
}

// deploy adds both stacks to the app.
func deploy(app awscdk.App, s *Switches, b Built) (data, sluice awscdk.Stack) {
	held := newData(app, s)
	return held.stack, newApp(app, s, b, held)
}

// environment is the account and region of the CLI; without credentials there is
// none, and the templates fit everywhere.
func environment() *awscdk.Environment {
	account, region := os.Getenv("CDK_DEFAULT_ACCOUNT"), os.Getenv("CDK_DEFAULT_REGION")
	if account == "" || region == "" {
		return nil
	}
	return &awscdk.Environment{Account: &account, Region: &region}
}
