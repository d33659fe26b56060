package main

import (
	"strconv"
	"testing"
	"time"

	"sluice/shared/config"
)

// environ is the settings of the relay, where what CloudFormation fills in is
// replaced by something of the same form.
func environ(t *testing.T, d deployment) *config.Config {
	t.Helper()
	env := map[string]any{}
	if d.switches.Streamer == Lambda {
		env = relayFunction(t, d).get("Environment.Variables").(map[string]any)
	} else {
		for _, v := range relayContainer(t, d)["Environment"].([]any) {
			env[get(v, "Name").(string)] = get(v, "Value")
		}
	}
	var lines []string
	for name, v := range env {
		value, plain := v.(string)
		if !plain {
			value = map[string]string{
				"SLUICE_REDIS_URL": "rediss://sluice@store.test:6379", "SLUICE_KMS_KEY": "arn:aws:kms:eu-west-1:000000000000:key/k",
				"SLUICE_CONFIG_BUCKET": "bucket", "SLUICE_ADMIN_SECRET": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:s", "SLUICE_LATE_QUEUE": "https://sqs.test/q",
			}[name]
		}
		if value == "" {
			t.Errorf("%s: %s", name, jsonOf(v))
		}
		lines = append(lines, name+"="+value)
	}
	c, err := config.Read(lines)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func relayContainer(t *testing.T, d deployment) map[string]any {
	t.Helper()
	for _, c := range d.one(t, "AWS::ECS::TaskDefinition").get("ContainerDefinitions").([]any) {
		if get(c, "Name") == "relay" {
			return c.(map[string]any)
		}
	}
	t.Fatal("no container of the relay")
	return nil
}

func relayFunction(t *testing.T, d deployment) resource {
	t.Helper()
	for _, r := range d.app.of("AWS::Lambda::Function") {
		if r.get("Description") == "Sluice: the relay" {
			return r
		}
	}
	t.Fatal("no function of the relay")
	return resource{}
}

func attributes(list any) map[string]string {
	found := map[string]string{}
	all, _ := list.([]any)
	for _, a := range all {
		found[get(a, "Key").(string)], _ = get(a, "Value").(string)
	}
	return found
}

func secondsOf(t *testing.T, text string) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return time.Duration(n) * time.Second
}
