package explain

import (
	"strings"
	"unicode/utf8"
)

// Columns is how wide a terminal is at least.
const Columns = 80

// Wrapped puts text behind a head, in lines of at most so many columns; those after the
// first begin where the text does. A longer word stays whole.
func Wrapped(head, text string, columns int) string {
	var b strings.Builder
	b.WriteString(head)
	indent := utf8.RuneCountInString(head)
	at, first := indent, true
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case first:
		case at+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at, first = at+n, false
	}
	return b.String() + "\n"
}

// Fits reports whether no line is wider than a terminal.
func Fits(text string) bool {
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > Columns {
			return false
		}
	}
	return true
}

// Cut shortens a name in the middle, where names differ least.
func Cut(name string, most int) string {
	r := []rune(name)
	if len(r) <= most || most < 3 {
		return name
	}
	tail := (most - 1) / 2
	return string(r[:most-1-tail]) + "…" + string(r[len(r)-tail:])
}
