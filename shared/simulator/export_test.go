package simulator

// Scan reads a JSON text with the simulator's own scanner.
func Scan(b []byte) error {
	s := scanner{b: b}
	if _, err := s.skip(); err != nil {
		return err
	}
	return s.end()
}

// Escape is a text as the simulator writes it into JSON, quotes included.
func Escape(text string) string { return string(appendString(nil, text)) }
