package main

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sluice/shared/store/storetest"
)

// A store that lost everything has its keys and accounts again after a restore.
func TestRestore(t *testing.T) {
	t.Parallel()
	redis := storetest.Own(t)
	dir := t.TempDir()
	settings := []string{"SLUICE_REDIS_URL=" + redis.URL().Reveal(), "SLUICE_SIMULATOR=true"}
	p := start(t, dir, settings...)
	printed := regexp.MustCompile(`Demo key \(shown once\): +(\S+)`).FindStringSubmatch(p.out.String())
	if printed == nil {
		t.Fatalf("printed %s", p.out.String())
	}
	key := printed[1]
	p.stop()

	redis.Flush(t)
	cmd := exec.Command(binary, "restore")
	cmd.Env = append(settings, "SLUICE_DATA_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "restored 2 entries of the config log") {
		t.Fatalf("%v: %s", err, out)
	}
	again := start(t, dir, settings...)
	if strings.Contains(again.out.String(), "Demo key") {
		t.Error("another key was made: the first is not there")
	}
	status, answer, err := again.exchange(http.MethodPost, "/v1/messages", key, prompt("claude-haiku-4-5", 20, false, "Hi"))
	if err != nil || status != http.StatusOK {
		t.Errorf("%d %s %v", status, answer, err)
	}
}

func TestUnknownArguments(t *testing.T) {
	out, err := exec.Command(binary, "restor").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `unknown argument "restor" (want restore, or nothing)`) {
		t.Errorf("%v: %s", err, out)
	}
}
