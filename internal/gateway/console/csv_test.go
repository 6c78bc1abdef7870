package console

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// table reads a file, asserting that it is one.
func (s *site) table(t *testing.T, query string) [][]string {
	t.Helper()
	a := s.get(t, home+"/usage.csv"+query, "en")
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") || !strings.HasPrefix(a.header.Get("Content-Disposition"), `attachment; filename="fleetwatch-usage-by-`) {
		t.Fatalf("%s: %d %v", query, a.status, a.header)
	}
	lines, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestUsage(t *testing.T) {
	began := time.Now().UTC().Truncate(time.Hour)
	row := ledger.Row{StartedAt: began, Status: ledger.Completed, Model: "m", Backend: "b", Pool: "primary", Client: "coo", Duration: time.Second, TTFB: 250 * time.Millisecond,
		Usage: llm.Usage{Input: 1000, Output: 20, CacheRead: 3, CacheWrite: 4, Reasoning: 5}, Cost: 1_500_000_000}
	other := ledger.Row{StartedAt: began, Status: ledger.Failed, Model: "x", Label: "other", Client: "ann"}
	s := serve(t, content{rows: []ledger.Row{row, other}})
	counts := []string{"1", "0", "1000", "20", "3", "4", "5", "1.5", "EUR"}
	none := []string{"1", "1", "0", "0", "0", "0", "0", "0", "EUR"}
	for by, want := range map[string][][]string{
		"hour": {{began.Format(time.RFC3339), "", "other", "ann"}, {began.Format(time.RFC3339), "b", "m", "coo"}}, "day": {{began.Format(time.DateOnly), ""}, {began.Format(time.DateOnly), "primary"}},
		"backend": {{"b"}, {""}}, "model": {{"m"}, {"other"}}, "client": {{"coo"}, {"ann"}},
	} {
		lines := s.table(t, "?by="+by+"&days=1")
		if len(lines) != 3 {
			t.Errorf("%s: %v", by, lines)
			continue
		}
		good, bad := 1, 2
		if by == "hour" || by == "day" {
			good, bad = 2, 1
		}
		key := len(want[0])
		for line, sums := range map[int][]string{good: counts, bad: none} {
			if !slices.Equal(lines[line][:key], want[line-1]) || !slices.Equal(lines[line][key:key+len(counts)], sums) {
				t.Errorf("%s, line %d: %v", by, line, lines[line])
			}
		}
		if first := lines[good][len(lines[good])-1]; by != "day" && (first != "250" || lines[0][len(lines[0])-1] != "ttft_ms") {
			t.Errorf("%s: first byte %s", by, first)
		}
		page := s.page(t, home+"/usage?days=1&by="+by, "en")
		has(t, page, "1,000", "1.50", `href="/dashboard/usage.csv?by=`+by, `aria-current="true">1 d`)
	}
	if lines := s.table(t, "?by=hour&client=ann"); len(lines) != 2 {
		t.Errorf("ann's: %v", lines)
	}
	if lines := s.table(t, "?by=day&model=m&backend_id=b"); len(lines) != 2 { // days are not counted by model
		t.Errorf("b's days: %v", lines)
	}
	if a := s.get(t, home+"/usage?by=moon", "en"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "by: expected one of [hour day backend model client]") {
		t.Errorf("%d", a.status)
	}
	has(t, s.page(t, home+"/usage?client=nobody", "zh-CN"), "这段时间没有用量")
}

// TestAFileHoldsTheWholeWindow however many pages that is.
func TestAFileHoldsTheWholeWindow(t *testing.T) {
	var c content
	const clients = 1203
	for i := range clients {
		c.rows = append(c.rows, ledger.Row{StartedAt: time.Now(), Status: ledger.Completed, Model: "m", Client: fmt.Sprint("client-", i)})
	}
	s := serve(t, c)
	seen := map[string]bool{}
	for _, line := range s.table(t, "?by=hour&days=1")[1:] {
		seen[line[3]] = true
	}
	if len(seen) != clients {
		t.Errorf("%d lines", len(seen))
	}
}

func TestCellsAreNoFormulas(t *testing.T) {
	var c content
	hostile := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "fine", "a,b\"c\nd"}
	for _, name := range hostile {
		c.rows = append(c.rows, ledger.Row{StartedAt: time.Now(), Status: ledger.Completed, Model: name, Client: "c"})
	}
	s := serve(t, c)
	var got []string
	for _, line := range s.table(t, "?by=model&days=1")[1:] {
		got = append(got, line[0])
	}
	for _, name := range hostile {
		want := name
		if name != "fine" && !strings.HasPrefix(name, "a") {
			want = "'" + name
		}
		// A reader of CSV makes one line break of two characters.
		if want = strings.ReplaceAll(want, "\r\n", "\n"); !slices.Contains(got, want) {
			t.Errorf("%q is not there: %q", want, got)
		}
	}
}
