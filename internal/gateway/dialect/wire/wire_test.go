package wire

import (
	"strings"
	"testing"
)

func TestCounts(t *testing.T) {
	for raw, want := range map[string]int64{"0": 0, "7": 7, "null": -1, `"7"`: -1, "-1": -1, "1.5": -1, "1e3": 1000, "10.0": 10, "1e300": -1, "-2.0": -1, "99999999999999999999": -1, "2199023255552": -1, "": -1} {
		n, there := Counted([]byte(raw))
		if !there {
			n = -1
		}
		if n != want {
			t.Errorf("Counted(%s) = %d, want %d", raw, n, want)
		}
	}
	for raw, want := range map[string]int64{`{"a":1,"n":0}`: 0, `{"n":4}`: 4, `{"n":null}`: -1, `{"a":1}`: -1, `null`: -1, `[1]`: -1, "": -1} {
		n, there := Member([]byte(raw), "n")
		if !there {
			n = -1
		}
		if n != want {
			t.Errorf("Member(%s) = %d, want %d", raw, n, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for body, want := range map[string]Error{
		`{"error":{"message":"m","type":"t","code":"c"}}`:           {"m", "t", "c"},
		`{"error":{"message":"m","code":429,"type":null}}`:          {"m", "", "429"},
		`{"type":"error","error":{"type":"t","message":"m"},"x":1}`: {"m", "t", ""},
		`{"error":"text"}`: {"text", "", ""},
		`{"error":null}`:   {},
		`{"error":[1]}`:    {},
		`{"error":{}`:      {},
		`<html>`:           {},
	} {
		if got := ErrorIn([]byte(body)); got != want {
			t.Errorf("ErrorIn(%s) = %+v", body, got)
		}
	}
	if m := Short(strings.Repeat("世", 400)); len(m) > MaxMessage+len("…") || !strings.HasSuffix(m, "世…") {
		t.Errorf("a long message is kept as %d bytes", len(m))
	}
}
