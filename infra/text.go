package main

import "github.com/aws/jsii-runtime-go"

// The CDK takes pointers to everything; these make them.

// str is a string, formatted when there are arguments.
func str(format string, args ...any) *string {
	if len(args) == 0 {
		return &format
	}
	return jsii.Sprintf(format, args...)
}

func strs(values ...string) *[]*string { return jsii.Strings(values...) }

func num(n int) *float64 { return jsii.Number(float64(n)) }

func yes() *bool { return jsii.Bool(true) }

func no() *bool { return jsii.Bool(false) }
