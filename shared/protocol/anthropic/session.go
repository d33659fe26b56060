package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"sluice/shared/protocol/jsonscan"
)

// sessionHeader is what Claude Code names its session with, on every call.
const sessionHeader = "X-Claude-Code-Session-Id"

// maxSession is the length in bytes of a session's name; a longer one is no name.
const maxSession = 128

// session is what keeps the turns of a conversation together: its name as the
// client gives it, else a hash of the prefix that the vendor caches, else "".
func (e *envelope) session(h http.Header) string {
	if name := h.Get(sessionHeader); name != "" && len(name) <= maxSession {
		return name
	}
	if e.userID.Len() > 0 {
		name := sessionOfUser(string(jsonscan.Text(e.userID.Of(e.body))))
		if name != "" && len(name) <= maxSession {
			return name
		}
	}
	return e.prefixHash()
}

// sessionOfUser is the session within metadata.user_id: a JSON text with a
// session_id, or from older clients user_<hash>_account_<uuid>_session_<uuid>.
func sessionOfUser(userID string) string {
	text := []byte(userID)
	scan := jsonscan.New(text)
	if scan.Peek() != jsonscan.Object {
		_, session, _ := strings.Cut(userID, "_session_")
		return session
	}
	var session string
	err := scan.Object(func(name jsonscan.Span) error {
		at, err := scan.Value()
		if err == nil && jsonscan.Is(name.Of(text), "session_id") && text[at.Start] == '"' {
			session = string(jsonscan.Text(at.Of(text)))
		}
		return err
	})
	if err != nil {
		return ""
	}
	return session
}

// prefixHash is the hash of tools and system up to the last cache marker in
// them, or whole when there is none. The vendor's order is tools, then system.
func (e *envelope) prefixHash() string {
	tools, system := e.tools.all, e.system.all
	switch {
	case e.system.marked > 0:
		system.End = e.system.marked
	case e.tools.marked > 0:
		tools.End, system = e.tools.marked, jsonscan.Span{}
	}
	if tools.Len() == 0 && system.Len() == 0 {
		return ""
	}
	h := sha256.New()
	h.Write(tools.Of(e.body))
	h.Write([]byte{0}) // no JSON text has it: two parts never read as one
	h.Write(system.Of(e.body))
	return hex.EncodeToString(h.Sum(nil))[:32]
}
