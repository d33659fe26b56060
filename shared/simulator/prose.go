package simulator

import (
	"strings"
	"unicode/utf8"
)

const (
	greeting = "Hello from Sluice's simulator. No vendor was asked and nothing was spent: this answer was made up on " +
		"the spot, so that you can see the whole way of a call without an account. Your request came through, its " +
		"tokens were counted, and the words you are reading were streamed like those of a real model.\n\n" +
		"When you are ready, add an account and ask again."
	filler = "\n\nA sluice lets through what it should and holds back what it must. Water comes in at one side, a gate " +
		"opens, and just as much leaves at the other; the keeper writes down each measure. So it is with tokens: " +
		"what goes in is counted, what comes out is counted, and the two sides of the book agree."
	greetingUnicode = "Grüße, γειά σου, привет, こんにちは, 你好, नमस्ते 👋🏽 — hello from Sluice's simulator, in as many " +
		"alphabets as fit into one line. Nobody was asked, nothing was spent: ∑ = 0 €. 🌊🚪🌊"
	fillerUnicode = "\n\nВода течёт, 水は流れる, 물은 흐른다, το νερό ρέει; 𝔰𝔩𝔲𝔦𝔠𝔢 \u2028 opens and closes: “gate”, ‘lock’, " +
		"naïve façade, 🇪🇺 flags and 👩‍👩‍👧‍👦 families, end of line\u2029."
	thought = "The caller would like an answer and there is no vendor to give one. I will say who I am, that nothing " +
		"was spent, and keep to the length that was asked for. That should do."
	toolIntro = "I will use the tool for that."
)

// prose is the text of answers: what to say, then filler for as long as it takes.
type prose struct{ plain, unicode string }

// proseSize is how much of it is kept ready; longer texts are made when asked for.
const proseSize = 64 << 10

func newProse() prose {
	return prose{lengthen(greeting, filler, proseSize), lengthen(greetingUnicode, fillerUnicode, proseSize)}
}

func lengthen(head, loop string, size int) string {
	return head + strings.Repeat(loop, max(0, size-len(head))/len(loop)+1)
}

// text is at most size bytes of prose, less only where a character would not fit.
func (p prose) text(unicode bool, size int) string {
	text, loop := p.plain, filler
	if unicode {
		text, loop = p.unicode, fillerUnicode
	}
	if size > len(text) {
		text = lengthen(text, loop, size)
	}
	return text[:boundary(text, size)]
}

// boundary is the last start of a character in text at or before i.
func boundary(text string, i int) int {
	if i >= len(text) {
		return len(text)
	}
	for i > 0 && !utf8.RuneStart(text[i]) {
		i--
	}
	return i
}

// appendString appends text as a JSON string.
func appendString(dst []byte, text string) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends text as it stands between the quotes of a JSON string.
func appendEscaped(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, text[start:]...)
}
