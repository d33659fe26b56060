package main

import (
	"slices"
	"strings"
	"testing"
)

// withoutResources are the actions that IAM allows on everything or nothing, or on
// things that do not exist yet.
var withoutResources = []string{
	"ecr:GetAuthorizationToken", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
	"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface",
	"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
}

func TestPoliciesAllowWhatIsNeeded(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		for id, r := range d.all("AWS::IAM::Policy") {
			for _, s := range r.get("PolicyDocument.Statement").([]any) {
				allowed(t, id, s)
			}
		}
		for id, r := range d.all("AWS::IAM::Role") {
			if r.get("ManagedPolicyArns") != nil {
				t.Errorf("%s has managed policies: they allow more than is needed, and change", id)
			}
			if len(jsonOf(r.get("AssumeRolePolicyDocument.Statement.0.Principal.Service"))) < len(`"x.amazonaws.com"`) {
				t.Errorf("%s can be assumed by %s", id, jsonOf(r.get("AssumeRolePolicyDocument")))
			}
		}
	})
}

func allowed(t *testing.T, id string, statement any) {
	t.Helper()
	if get(statement, "Effect") != "Allow" {
		return
	}
	actions := texts(get(statement, "Action"))
	for _, action := range actions {
		if strings.Contains(action, "*") {
			t.Errorf("%s allows %s", id, action)
		}
	}
	for _, resource := range listOf(get(statement, "Resource")) {
		if resource != "*" {
			continue
		}
		for _, action := range actions {
			if !slices.Contains(withoutResources, action) {
				t.Errorf("%s allows %s on everything", id, action)
			}
		}
	}
}

// Who can read what sluice sealed is bound to the purpose of the sealing.
func TestMasterKeyIsBoundToItsPurpose(t *testing.T) {
	eachVariant(t, func(t *testing.T, d deployment) {
		bound := 0
		for _, r := range d.app.of("AWS::IAM::Policy") {
			for _, s := range r.get("PolicyDocument.Statement").([]any) {
				if slices.Contains(texts(get(s, "Action")), "kms:Encrypt") {
					bound++
					if !strings.Contains(jsonOf(s), `"kms:EncryptionContext:sluice":"data-key"`) {
						t.Errorf("seals anything: %s", jsonOf(s))
					}
				}
			}
		}
		if bound != 1 {
			t.Errorf("%d statements allow sealing, want the relay's", bound)
		}
	})
}

func TestBedrockRoles(t *testing.T) {
	role := "arn:aws:iam::000000000000:role/bedrock"
	d := synth(t, variants()["small, egress=nat"])
	if !strings.Contains(string(d.app.raw), role) {
		t.Errorf("the relay may not assume %s", role)
	}
	if without := synth(t, profiles()[Small]); strings.Contains(string(without.app.raw), "sts:TagSession") {
		t.Error("the relay may assume roles that nobody named")
	}
}

func listOf(v any) []any {
	if list, is := v.([]any); is {
		return list
	}
	return []any{v}
}

func texts(v any) []string {
	var all []string
	for _, x := range listOf(v) {
		if s, is := x.(string); is {
			all = append(all, s)
		}
	}
	return all
}
