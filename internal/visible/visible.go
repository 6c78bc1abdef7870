// Package visible makes text from outside show what it holds, before a person reads it.
package visible

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// unprintable stands where something stood that nobody can see, or that changes
// how what follows is read.
const unprintable = utf8.RuneError

// maxMarks is how many combining marks may stand on one letter.
const maxMarks = 4

// Text returns s as it may be shown. Characters that have no look of their own
// (control characters, zero-width ones), and those that turn the direction of what
// follows, are replaced by U+FFFD, so that a name that looks like another's gives
// itself away. Line breaks stay, tabs become spaces. Joiners stay between letters
// that need them, as in emoji and in the scripts of Persian and Hindi.
func Text(s string) string {
	s = strings.ToValidUTF8(s, string(unprintable))
	if !strings.ContainsFunc(s, strange) {
		return s
	}
	var b strings.Builder
	var before rune
	marks := 0
	runes := []rune(s)
	for i, c := range runes {
		marks++
		if !unicode.In(c, unicode.Mn, unicode.Me) {
			marks = 0
		}
		switch {
		case c == '\r' && i+1 < len(runes) && runes[i+1] == '\n':
			continue
		case c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' || c == '\u0085':
			c = '\n'
		case c == '\t':
			c = ' '
		case joiner(c) && before > unicode.MaxASCII && i+1 < len(runes) && runes[i+1] > unicode.MaxASCII && !hidden(runes[i+1]):
		case hidden(c) || marks == maxMarks+1:
			c = unprintable
		case marks > maxMarks:
			continue
		}
		b.WriteRune(c)
		before = c
	}
	return b.String()
}

// strange are the characters that may have to be replaced.
func strange(c rune) bool {
	return c == '\t' || (c < ' ' && c != '\n') || (c > unicode.MaxASCII && (hidden(c) || unicode.In(c, unicode.Mn, unicode.Me) || c == '\u2028' || c == '\u2029')) || c == 0x7f
}

func joiner(c rune) bool { return c == '\u200c' || c == '\u200d' }

// hidden are the characters without a look of their own.
func hidden(c rune) bool {
	switch c {
	case '\u034f', '\u115f', '\u1160', '\u2800', '\u3164', '\uffa0': // fillers and blanks that are letters to Unicode
		return true
	}
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs)
}
