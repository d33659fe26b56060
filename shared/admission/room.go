package admission

import "time"

// Room is what a limit of a window leaves.
type Room struct {
	Limit int64
	Left  int64
	Reset time.Time // when some of what was used leaves the window
}

// Room is what the tightest windows of the call's owners left when it was
// admitted, of requests and of tokens; nil where no window limits them.
func (g *Grant) Room() (requests, tokens *Room) {
	for _, u := range g.windows {
		w := g.intent.Plan.Shares[u.Share].Windows[u.Item].window
		requests = tighter(requests, w.Requests, u.Requests, u.Until)
		tokens = tighter(tokens, w.Tokens, u.Tokens, u.Until)
	}
	return requests, tokens
}

func tighter(than *Room, limit, used, until int64) *Room {
	left := max(limit-used, 0)
	if limit == 0 || than != nil && than.Left <= left {
		return than
	}
	return &Room{Limit: limit, Left: left, Reset: time.UnixMilli(until)}
}
