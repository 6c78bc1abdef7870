// Package redact keeps secrets out of everything a person or a log can see.
//
// It promises two things: a [Secret] prints as "<secret>" through every
// formatter the program uses (fmt, slog, encoding/json, YAML), and [Error] and
// [Text] take known secrets and URL paths out of text that comes from outside,
// before it is logged or returned.
package redact

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Mask is what a set secret prints as.
const Mask = "<secret>"

// Secret is a credential. Its value is only had through [Secret.Reveal], so
// that every use of one can be found by its name.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// IsSet reports whether the secret is not empty.
func (s Secret) IsSet() bool { return s != "" }

// Equal reports in constant time whether presented is the secret. An empty
// secret equals nothing, not even the empty string.
func (s Secret) Equal(presented string) bool {
	want, got := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(presented))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && s != ""
}

// String returns [Mask], or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Mask
}

// Format keeps every fmt verb, %#v and %x included, from printing the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON implements [json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML implements the YAML library's Marshaler.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Text returns text with each of the secrets in it replaced by [Mask]. Secrets
// shorter than four bytes are left, since they would turn ordinary words into
// masks.
func Text(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, string(s), Mask)
			if escaped := url.PathEscape(string(s)); escaped != string(s) {
				text = strings.ReplaceAll(text, escaped, Mask)
			}
		}
	}
	return text
}

// Error returns err as it may be shown: a [url.Error] in its chain (whose text
// holds the whole URL, and with it a hook's token) loses its path and query,
// and the known secrets are masked. [errors.Is] and [errors.As] see the
// original chain. Error(nil) is nil.
func Error(err error, secrets ...Secret) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if ue, ok := errors.AsType[*url.Error](err); ok {
		text = strings.ReplaceAll(text, ue.URL, Host(ue.URL))
	}
	text = Text(text, secrets...)
	if text == err.Error() {
		return err
	}
	return &maskedError{text: text, err: err}
}

// Host returns the scheme and host of a URL, without user, path and query.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "<url>"
	}
	return u.Scheme + "://" + u.Host
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
