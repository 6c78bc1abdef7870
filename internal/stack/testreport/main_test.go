package main

import (
	"bytes"
	"strings"
	"testing"
)

const events = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"went well\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no chromium\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		more       string
		requireAll bool
		want       bool
		says       []string
	}{
		"a skip":                   {"", false, true, []string{"ok   p 1.5s", "SKIPPED p TestB: b_test.go:3: no chromium", "1 passed, 0 failed, 1 skipped"}},
		"a skip that counts":       {"", true, false, []string{"counts as failed"}},
		"a failure shows its text": {`{"Action":"output","Package":"q","Test":"TestC","Output":"boom\n"}` + "\n" + `{"Action":"fail","Package":"q","Test":"TestC"}` + "\n", false, false, []string{"boom", "FAILED q TestC"}},
		"a build that fails":       {`{"ImportPath":"q","Action":"build-output","Output":"undefined: x\n"}` + "\n" + `{"ImportPath":"q","Action":"build-fail"}` + "\n" + `{"Action":"fail","Package":"q","FailedBuild":"q"}` + "\n", false, false, []string{"undefined: x", "FAILED q"}},
	} {
		var out bytes.Buffer
		r := report{out: &out, output: map[string]*strings.Builder{}}
		if err := r.read(strings.NewReader(events + c.more)); err != nil {
			t.Fatal(err)
		}
		if got := r.summary(c.requireAll); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for _, s := range c.says {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%s: lacks %q:\n%s", name, s, out.String())
			}
		}
		if strings.Contains(out.String(), "went well") {
			t.Errorf("%s: shows the output of what passed", name)
		}
	}
	empty := report{out: &bytes.Buffer{}, output: map[string]*strings.Builder{}}
	if empty.summary(false) {
		t.Error("a run without any test is well")
	}
}
