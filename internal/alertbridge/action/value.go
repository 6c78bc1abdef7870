// Package action is what people do by a card's buttons.
//
// A button carries a signed value that names the card, what to do, and the state
// that it was offered in. The package promises that a value that this bridge did
// not sign, that is past its time, or that was offered in a state that the card
// has left, changes nothing; that a press counts once however often its event
// comes; that only operators change anything; and that every press is in the
// audit trail, whoever made it.
package action

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Value is what a button stands for.
type Value struct {
	Kind    render.ActionKind
	For     time.Duration // of a silence, in whole seconds; 0 for the others
	Turn    int           // silences asked for on the card when it was offered
	Card    string        // id: letters and digits
	Expires time.Time     // in whole seconds
}

// Reasons why a value is not taken.
var (
	ErrForged  = errors.New("the value was not signed here")
	ErrExpired = errors.New("the value is past its time")
)

// field is the member of a button's value that holds the signed text: values of
// Card JSON 2.0 are objects.
const field = "fleetwatch"

// version is the form of the signed text; another form is another version.
const version = "v1"

// maxLength bounds what is looked at.
const maxLength = 256

// Signer signs values and checks them.
type Signer struct{ key redact.Secret }

// NewSigner makes a signer with the key, which [NewKey] has made.
func NewSigner(key redact.Secret) *Signer { return &Signer{key: key} }

// NewKey makes a key.
func NewKey() string { return rand.Text() + rand.Text() }

// Sign returns the value in the form that a button carries.
func (s *Signer) Sign(v Value) map[string]string {
	text := strings.Join([]string{
		version, string(v.Kind), strconv.FormatInt(int64(v.For/time.Second), 10), strconv.Itoa(v.Turn), v.Card, strconv.FormatInt(v.Expires.Unix(), 10),
	}, ".")
	return map[string]string{field: text + "." + s.mac(text)}
}

func (s *Signer) mac(text string) string {
	h := hmac.New(sha256.New, []byte(s.key.Reveal()))
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Check reads what a button sent. It returns [ErrForged], or [ErrExpired] with
// the value. Nothing of a text is looked at before its signature.
func (s *Signer) Check(sent map[string]any, now time.Time) (Value, error) {
	signed, _ := sent[field].(string)
	at := strings.LastIndexByte(signed, '.')
	if at < 0 || len(signed) > maxLength {
		return Value{}, ErrForged
	}
	text, mac := signed[:at], signed[at+1:]
	if !hmac.Equal([]byte(mac), []byte(s.mac(text))) {
		return Value{}, ErrForged
	}
	v, ok := parse(text)
	if !ok {
		return Value{}, ErrForged
	}
	if !now.Before(v.Expires) {
		return v, ErrExpired
	}
	return v, nil
}

// parse reads a text whose signature is right. One of another version is refused
// as well.
func parse(text string) (Value, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 6 || parts[0] != version {
		return Value{}, false
	}
	seconds, err1 := strconv.ParseInt(parts[2], 10, 32)
	turn, err2 := strconv.Atoi(parts[3])
	expires, err3 := strconv.ParseInt(parts[5], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return Value{}, false
	}
	return Value{
		Kind: render.ActionKind(parts[1]), For: time.Duration(seconds) * time.Second, Turn: turn, Card: parts[4], Expires: time.Unix(expires, 0).UTC(),
	}, true
}
