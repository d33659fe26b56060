package storetest

import (
	"bufio"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadReply(t *testing.T) {
	for _, reply := range []string{
		"+OK\r\n", "-ERR no\r\n", ":1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "$-1\r\n", "*-1\r\n", "$0\r\n\r\n", "$4\r\na\r\nb\r\n",
		"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", "%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n", ">1\r\n+push\r\n", "=5\r\ntxt:a\r\n",
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(reply + "+next\r\n")))
		if err != nil || string(got) != reply {
			t.Errorf("readReply(%q) = %q, %v", reply, got, err)
		}
	}
	for _, reply := range []string{"", "+OK", "$x\r\n", "$5\r\nab", "*2\r\n:1\r\n", "*x\r\n", "%1\r\n+a\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(reply))); err == nil {
			t.Errorf("readReply(%q) = %q", reply, got)
		}
	}
}

func FuzzReadCommand(f *testing.F) {
	f.Add("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	f.Add("*0\r\n")
	f.Add("*1\r\n$-1\r\n")
	f.Add("PING\r\n")
	f.Fuzz(func(t *testing.T, sent string) {
		_, raw, err := readCommand(bufio.NewReader(strings.NewReader(sent)))
		if err == nil && !strings.HasPrefix(sent, string(raw)) {
			t.Errorf("%q was read as %q", sent, raw)
		}
	})
}

func TestReadCommand(t *testing.T) {
	cmd, _, err := readCommand(bufio.NewReader(strings.NewReader("*3\r\n$3\r\nSET\r\n$1\r\nK\r\n$4\r\na\r\nb\r\n")))
	if diff := cmp.Diff([]string{"set", "K", "a\r\nb"}, cmd); diff != "" || err != nil {
		t.Errorf("readCommand: %v (-want +got):\n%s", err, diff)
	}
}

func TestNoServerInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := startSingle(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("without redis-server: %v, want how to install it", err)
	}
}
