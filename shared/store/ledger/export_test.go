package ledger

import "time"

// Age makes the settlements that wait for confirmation older.
func (l *Ledger) Age(by time.Duration) {
	l.recent.mu.Lock()
	defer l.recent.mu.Unlock()
	for i := range l.recent.list {
		l.recent.list[i].at = l.recent.list[i].at.Add(-by)
	}
}
