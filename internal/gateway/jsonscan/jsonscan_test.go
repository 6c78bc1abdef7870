package jsonscan

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

var samples = []string{
	`{}`, `{"model":"m","stream":true}`, ` { "a" : [ 1 , -2.5e+10 , "x\"\\\u00e9" , null ] , "b" : {"c":{}} } `, `[]`, `"abcdefgh\"ijklmnop"`,
	`{"a":1,}`, `{"a" 1}`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":1e}`, `{"a":"` + "\x01" + `"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":tru}`, `{"a":[1,]}`, `{a:1}`,
	`{"a":"unended`, `{`, ``, `{}{}`, `nul`, `{"a":"é世界"}`, "\xff", `"` + strings.Repeat("x", 30) + "\x1f" + `"`, `"abcdefg` + "\x00" + `"`,
}

// TestAcceptsWhatEncodingJSONAccepts is the reference of the package.
func TestAcceptsWhatEncodingJSONAccepts(t *testing.T) {
	for _, s := range samples {
		if err := Valid([]byte(s)); (err == nil) != json.Valid([]byte(s)) {
			t.Errorf("Valid(%q) = %v, encoding/json says %v", s, err, json.Valid([]byte(s)))
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Valid(data)
		if errors.Is(err, ErrDeep) {
			return
		}
		if (err == nil) != json.Valid(data) {
			t.Fatalf("Valid(%q) = %v, encoding/json says %v", data, err, json.Valid(data))
		}
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil || members == nil {
			return
		}
		last := map[string]string{}
		if err := Object(data, func(key, value Span) error {
			last[Key(data, key)] = string(value.Of(data))
			return nil
		}); err != nil {
			t.Fatalf("Object(%q) = %v", data, err)
		}
		if len(last) != len(members) {
			t.Fatalf("Object(%q) visits %v, encoding/json %v", data, last, members)
		}
		for k, v := range members {
			if last[k] != string(v) {
				t.Fatalf("Object(%q)[%q] = %q, encoding/json %q", data, k, last[k], v)
			}
		}
	})
}

func TestDepthIsBounded(t *testing.T) {
	if err := Valid([]byte(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := Valid([]byte(strings.Repeat(`{"a":`, 1<<20))); !errors.Is(err, ErrDeep) {
		t.Errorf("beyond the limit: %v", err)
	}
}

func TestArrayAndText(t *testing.T) {
	data := []byte(` [ "a\u0062" , 1 , {"x":2} ] `)
	var got []string
	if err := Array(data, func(v Span) error {
		if s, ok := Text(data, v); ok {
			got = append(got, "text "+s)
			return nil
		}
		got = append(got, string(v.Of(data)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, "|") != `text ab|1|{"x":2}` {
		t.Errorf("got %q", got)
	}
	stop := errors.New("stop")
	if err := Object([]byte(`{"a":1,"b":2}`), func(_, _ Span) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visitor's error: %v", err)
	}
	if Object([]byte(`[]`), nil) == nil || Array([]byte(`{}`), nil) == nil {
		t.Error("the wrong kind of value was accepted")
	}
}

func BenchmarkObject32KB(b *testing.B) {
	body := []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat(`some words of a prompt\n`, 1400) + `"}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := Object(body, func(_, _ Span) error { n++; return nil }); err != nil || n != 3 {
			b.Fatal(err, n)
		}
	}
}
