package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func readCommand(r *bufio.Reader) (cmd []string, raw []byte, err error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, nil, err
	}
	n, err := count(head, '*')
	if err != nil {
		return nil, nil, err
	}
	raw = append(raw, head...)
	for range n {
		part, err := readReply(r)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, part...)
		_, text, _ := strings.Cut(string(part), "\r\n")
		cmd = append(cmd, strings.TrimSuffix(text, "\r\n"))
	}
	if len(cmd) > 0 {
		cmd[0] = strings.ToLower(cmd[0])
	}
	return cmd, raw, nil
}

// readReply reads one RESP value, nested ones included.
func readReply(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	raw := []byte(line)
	var nested int
	switch line[0] {
	case '$', '=', '!':
		n, err := count(line, line[0])
		if err != nil || n < 0 {
			return raw, err
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, err
		}
		return append(raw, body...), nil
	case '*', '~', '>':
		nested, err = count(line, line[0])
	case '%', '|':
		nested, err = count(line, line[0])
		nested *= 2
	}
	if err != nil {
		return nil, err
	}
	for range max(nested, 0) {
		part, err := readReply(r)
		if err != nil {
			return nil, err
		}
		raw = append(raw, part...)
	}
	return raw, nil
}

func count(line string, kind byte) (int, error) {
	if line == "" || line[0] != kind {
		return 0, fmt.Errorf("storetest: %q does not begin with %c", line, kind)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return 0, errors.New("storetest: not a RESP length: " + line)
	}
	return n, nil
}
