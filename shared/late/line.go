package late

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"sluice/shared/admission"
)

// line is one line of a generation's file: a settlement, or a mark that says how
// many bytes of the file need not be applied again. A disk can give back something
// else than it was given, so each has the checksum of what it holds.
type line struct {
	Sum        string          `json:"sum"` // CRC-32C of the member beside it, in hexadecimal
	Settlement json.RawMessage `json:"settlement,omitempty"`
	Applied    json.RawMessage `json:"applied,omitempty"`
}

// content is what a line says: a settlement, or else a mark.
type content struct {
	settlement admission.Settlement
	mark       bool
	applied    int64 // of a mark
}

func checksum(text []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

func settlementLine(s admission.Settlement) ([]byte, error) {
	text, err := Encode(s)
	if err != nil {
		return nil, err
	}
	return enclose("settlement", text), nil
}

func markLine(applied int64) []byte {
	return enclose("applied", strconv.AppendInt(nil, applied, 10))
}

// enclose puts the text into a line as it is, for the checksum is of these bytes.
func enclose(member string, text []byte) []byte {
	return fmt.Appendf(nil, "{\"sum\":%q,%q:%s}\n", checksum(text), member, text)
}

// parse reads a line. It errs for everything that settlementLine and markLine could
// not have made.
func parse(text []byte) (content, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return content{}, err
	}
	held := l.Settlement
	mark := held == nil
	if mark {
		held = l.Applied
	}
	if held == nil {
		return content{}, errors.New("it has neither a settlement nor a mark")
	}
	if sum := checksum(held); sum != l.Sum {
		return content{}, fmt.Errorf("its checksum is %s, and it says %q", sum, l.Sum)
	}
	if !mark {
		s, err := Decode(held)
		return content{settlement: s}, err
	}
	applied, err := strconv.ParseInt(string(held), 10, 64)
	if err != nil || applied < 0 {
		return content{}, fmt.Errorf("its mark is %s (want a number of bytes)", held)
	}
	return content{mark: true, applied: applied}, nil
}
