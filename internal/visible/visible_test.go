package visible_test

import (
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/visible"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "",
		"运维工程师 é ✅":                              "运维工程师 é ✅",
		"evil\u202egnp.exe":                      "evil\ufffdgnp.exe",
		"a\x00b\x1bc\x7f":                        "a\ufffdb\ufffdc\ufffd",
		"one\r\ntwo\u2028three\tfour":            "one\ntwo\nthree four",
		"x" + strings.Repeat("\u0300", 50) + "y": "x\u0300\u0300\u0300\u0300\ufffdy",
		"bad \xff byte":                          "bad \ufffd byte",
	} {
		if got := visible.Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
