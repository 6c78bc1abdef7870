// Package wire reads what the JSON of all dialects has in common: counts, values that
// say nothing, and error objects. It never fails: what is not as expected says nothing.
package wire

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
)

// Truthy reports whether a value says anything.
func Truthy(raw []byte) bool {
	switch string(raw) {
	case "", "null", "false", `""`, "0", "[]", "{}":
		return false
	default:
		return true
	}
}

// IsObject reports whether a value, checked before, is an object.
func IsObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

// maxCount bounds a count: beyond it is nonsense, and must not overflow a sum.
const maxCount = 1 << 40

// Counted reads a count and reports whether there is one: null, and what cannot count
// anything, is none.
func Counted(raw []byte) (n int64, there bool) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil { // some write 10.0
		f, notNumber := strconv.ParseFloat(string(raw), 64)
		if notNumber != nil || f != math.Trunc(f) || math.Abs(f) > maxCount {
			return 0, false
		}
		n = int64(f)
	}
	if n < 0 || n > maxCount {
		return 0, false
	}
	return n, true
}

// Count reads a count; what is none is 0.
func Count(raw []byte) int64 {
	n, _ := Counted(raw)
	return n
}

// Member reads a count in an object, and reports whether it is there.
func Member(raw []byte, name string) (n int64, there bool) {
	if !IsObject(raw) {
		return 0, false
	}
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		if string(key.Of(raw)) == name {
			n, there = Counted(value.Of(raw))
		}
		return nil
	})
	return n, there && err == nil
}

// Error is what an error object says. Its texts are bounded.
type Error struct{ Message, Kind, Code string }

// ErrorIn reads the error object in a body.
func ErrorIn(body []byte) (e Error) {
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		if string(key.Of(body)) == "error" {
			e = ErrorOf(value.Of(body))
		}
		return nil
	})
	if err != nil {
		return Error{}
	}
	return e
}

// ErrorOf reads an error object; some providers have a plain string there.
func ErrorOf(object []byte) (e Error) {
	if text, ok := jsonscan.Text(object, jsonscan.Span{End: len(object)}); ok {
		return Error{Message: Short(text)}
	}
	err := jsonscan.Object(object, func(key, value jsonscan.Span) error {
		text, isText := jsonscan.Text(object, value)
		if raw := value.Of(object); !isText && Truthy(raw) {
			text = string(raw)
		}
		switch string(key.Of(object)) {
		case "message":
			e.Message = Short(text)
		case "type":
			e.Kind = Short(text)
		case "code":
			e.Code = Short(text)
		}
		return nil
	})
	if err != nil {
		return Error{}
	}
	return e
}

// MaxMessage bounds what is kept of a provider's message, in bytes.
const MaxMessage = 500

// Short cuts a text between letters, and shows that it did.
func Short(text string) string {
	if len(text) <= MaxMessage {
		return text
	}
	cut := MaxMessage
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
