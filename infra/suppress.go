package main

import "github.com/aws/aws-cdk-go/awscdk/v2"

func suppressData(*held)       {}
func suppressApp(awscdk.Stack) {}
