package anthropic

import (
	"testing"

	"sluice/shared/fault"
)

func TestRetarget(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"a","x":[{"model":"a"}]}`:  `{"model":"b","x":[{"model":"a"}]}`,
		` { "x" : 1 , "mod\u0065l" : "a" } `: ` { "x" : 1 , "mod\u0065l" : "b" } `,
	} {
		got, err := Back{}.Retarget([]byte(body), "b")
		if err != nil || string(got) != want {
			t.Errorf("%s: %v, %s", body, err, got)
		}
	}
	same := []byte(`{"model":"\u0062"}`)
	got, err := Back{}.Retarget(same, "b")
	if err != nil || &got[0] != &same[0] || len(got) != len(same) {
		t.Errorf("the body that names the model already is copied: %v, %s", err, got)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"model":1}`, `{"model":"a`} {
		if got, err := (Back{}).Retarget([]byte(body), "b"); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%q: %v, %s", body, err, got)
		}
	}
}

func TestCountBody(t *testing.T) {
	for body, want := range map[string]string{
		`{ "model" : "m", "stream":true,"max_tokens":8,"messages":[ 1, 2 ],"metadata":{},"temperature":1,"tools":[]}`:                                     `{"model":"m","messages":[ 1, 2 ],"tools":[]}`,
		`{"system":"s","tool_choice":{},"thinking":{},"mcp_servers":[],"output_config":{},"output_format":{},"context_management":{},"cache_control":{}}`: `{"system":"s","tool_choice":{},"thinking":{},"mcp_servers":[],"output_config":{},"output_format":{},"context_management":{},"cache_control":{}}`,
	} {
		got, err := Back{}.CountBody([]byte(body))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v, %s", body, err, got)
		}
	}
	for _, body := range []string{``, `[]`, `{"model":`, `{"model":"m"} x`} {
		if got, err := (Back{}).CountBody([]byte(body)); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%q: %v, %s", body, err, got)
		}
	}
}

func TestReadCount(t *testing.T) {
	if got, err := (Back{}).ReadCount([]byte(`{"input_tokens":2095,"more":{}}`)); err != nil || got != 2095 {
		t.Errorf("%d, %v", got, err)
	}
	for _, answer := range []string{``, `{}`, `[]`, `{"input_tokens":"1"}`, `{"input_tokens":-1}`, `{"input_tokens":null}`, `{"input_tokens":`} {
		if got, err := (Back{}).ReadCount([]byte(answer)); fault.CodeOf(err) != fault.UpstreamFailed {
			t.Errorf("%q: %d, %v", answer, got, err)
		}
	}
}
