// Package jsonscan walks JSON text without building values.
//
// It accepts exactly what encoding/json accepts, up to [MaxDepth], at a fraction of
// the cost: the bodies that pass through the gateway are tens of kilobytes of
// which three keys matter. What it returns are spans of the text, so that a value
// can be replaced while every other byte stays as it was sent.
package jsonscan

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
)

// MaxDepth is how deep objects and arrays may stand in each other.
const MaxDepth = 1000

// ErrDeep is returned for text that is nested deeper than MaxDepth.
var ErrDeep = errors.New("nested too deeply")

// SyntaxError says where text is not JSON.
type SyntaxError struct {
	Offset int    // of the first byte that is wrong
	Want   string // what was expected there
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at byte %d: expected %s", e.Offset, e.Want)
}

// Span is a part of the text: data[Start:End].
type Span struct{ Start, End int }

// Of returns the part.
func (s Span) Of(data []byte) []byte { return data[s.Start:s.End] }

// Object checks that data is one JSON object and calls field with the spans of the
// key, between its quotes, and the value of every member, in order. Nested values
// are checked, not visited. An error of field ends the walk and is returned.
func Object(data []byte, field func(key, value Span) error) error {
	i := space(data, 0)
	if i == len(data) || data[i] != '{' {
		return &SyntaxError{i, "an object"}
	}
	i, err := members(data, i+1, 1, field)
	if err != nil {
		return err
	}
	return end(data, i)
}

// Array is Object for an array's elements.
func Array(data []byte, element func(value Span) error) error {
	i := space(data, 0)
	if i == len(data) || data[i] != '[' {
		return &SyntaxError{i, "an array"}
	}
	i, err := elements(data, i+1, 1, element)
	if err != nil {
		return err
	}
	return end(data, i)
}

// Valid returns nil where data is one JSON value.
func Valid(data []byte) error {
	i, err := value(data, space(data, 0), 0)
	if err != nil {
		return err
	}
	return end(data, i)
}

// Key returns the decoded key of a member.
func Key(data []byte, key Span) string { return text(data, key) }

// Text returns the decoded string of a value and whether it is a string.
func Text(data []byte, value Span) (string, bool) {
	if value.End-value.Start < 2 || data[value.Start] != '"' {
		return "", false
	}
	return text(data, Span{value.Start + 1, value.End - 1}), true
}

// text decodes what stands between quotes and was checked before.
func text(data []byte, s Span) string {
	raw := s.Of(data)
	plain := true
	for _, c := range raw {
		if c == '\\' || c >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		return string(raw)
	}
	var out string
	if json.Unmarshal(data[s.Start-1:s.End+1], &out) != nil {
		return "" // checked before: cannot be
	}
	return out
}

func end(data []byte, i int) error {
	if i = space(data, i); i != len(data) {
		return &SyntaxError{i, "the end"}
	}
	return nil
}

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}

// value returns the offset behind the value that begins at i.
func value(data []byte, i, depth int) (int, error) {
	if i == len(data) {
		return i, &SyntaxError{i, "a value"}
	}
	switch c := data[i]; {
	case c == '"':
		return str(data, i)
	case c == '{':
		return members(data, i+1, depth+1, nil)
	case c == '[':
		return elements(data, i+1, depth+1, nil)
	case c == 't':
		return literal(data, i, "true")
	case c == 'f':
		return literal(data, i, "false")
	case c == 'n':
		return literal(data, i, "null")
	case c == '-' || c >= '0' && c <= '9':
		return number(data, i)
	default:
		return i, &SyntaxError{i, "a value"}
	}
}

func members(data []byte, i, depth int, field func(key, value Span) error) (int, error) {
	if depth > MaxDepth {
		return i, ErrDeep
	}
	i = space(data, i)
	if i < len(data) && data[i] == '}' {
		return i + 1, nil
	}
	for {
		if i == len(data) || data[i] != '"' {
			return i, &SyntaxError{i, "a key"}
		}
		keyEnd, err := str(data, i)
		if err != nil {
			return i, err
		}
		key := Span{i + 1, keyEnd - 1}
		i = space(data, keyEnd)
		if i == len(data) || data[i] != ':' {
			return i, &SyntaxError{i, "a colon"}
		}
		start := space(data, i+1)
		if i, err = value(data, start, depth); err != nil {
			return i, err
		}
		if field != nil {
			if err := field(key, Span{start, i}); err != nil {
				return i, err
			}
		}
		i = space(data, i)
		if i < len(data) && data[i] == '}' {
			return i + 1, nil
		}
		if i == len(data) || data[i] != ',' {
			return i, &SyntaxError{i, "a comma or }"}
		}
		i = space(data, i+1)
	}
}

func elements(data []byte, i, depth int, element func(value Span) error) (int, error) {
	if depth > MaxDepth {
		return i, ErrDeep
	}
	i = space(data, i)
	if i < len(data) && data[i] == ']' {
		return i + 1, nil
	}
	for {
		start := i
		var err error
		if i, err = value(data, i, depth); err != nil {
			return i, err
		}
		if element != nil {
			if err := element(Span{start, i}); err != nil {
				return i, err
			}
		}
		i = space(data, i)
		if i < len(data) && data[i] == ']' {
			return i + 1, nil
		}
		if i == len(data) || data[i] != ',' {
			return i, &SyntaxError{i, "a comma or ]"}
		}
		i = space(data, i+1)
	}
}

func literal(data []byte, i int, word string) (int, error) {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return i, &SyntaxError{i, word}
	}
	return i + len(word), nil
}

func number(data []byte, i int) (int, error) {
	if data[i] == '-' {
		i++
	}
	switch {
	case i < len(data) && data[i] == '0':
		i++
	default:
		from := i
		if i = digits(data, i); i == from {
			return i, &SyntaxError{i, "a digit"}
		}
	}
	if i < len(data) && data[i] == '.' {
		from := i + 1
		if i = digits(data, from); i == from {
			return i, &SyntaxError{i, "a digit"}
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		from := i
		if i = digits(data, i); i == from {
			return i, &SyntaxError{i, "a digit"}
		}
	}
	return i, nil
}

func digits(data []byte, i int) int {
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str returns the offset behind the string whose opening quote stands at i. Eight
// bytes at a time it looks for a quote, a backslash or a control character.
func str(data []byte, i int) (int, error) {
	i++
	for {
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			// Each term has the high bit of a byte set where it is zero (or, for the
			// last, below 0x20); a byte above a true hit may be set wrongly, the lowest
			// one never.
			hit := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & highs
			if hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			return i, &SyntaxError{i, "the end of a string"}
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			next, err := escape(data, i)
			if err != nil {
				return next, err
			}
			i = next
		case c < 0x20:
			return i, &SyntaxError{i, "no control character in a string"}
		default:
			i++
		}
	}
}

func escape(data []byte, i int) (int, error) {
	if i+1 < len(data) {
		switch data[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return i + 2, nil
		case 'u':
			for k := i + 2; k < i+6; k++ {
				if k >= len(data) || !hex(data[k]) {
					return i, &SyntaxError{i, "four hexadecimal digits after \\u"}
				}
			}
			return i + 6, nil
		}
	}
	return i, &SyntaxError{i, "an escape"}
}

func hex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
