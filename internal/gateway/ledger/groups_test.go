package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

func TestGroups(t *testing.T) {
	l := filled(t)
	usage := llm.Usage{Input: 2, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 1}
	ann := Sums{Requests: 2, Errors: 1, Usage: usage, Cost: 11, Duration: 3 * time.Second, TTFB: time.Second, TTFBCount: 1}
	ten, odd := ann, Sums{Requests: 1, Errors: 1, Cost: 7}
	ten.Requests, ten.Cost = 4, 16
	since := Window{Since: at(11, 2, 0, 0)}
	for by, want := range map[By][]Group{
		ByHour:    {{At: at(11, 22, 16, 0), Sums: odd}, {At: at(11, 22, 10, 0), Sums: ten}},
		ByBackend: {{Name: "a", Sums: ann}, {Sums: odd}, {Name: "b", Sums: Sums{Requests: 1, Cost: 5}}, {Name: "c", Sums: Sums{Requests: 1}}},
		ByModel:   {{Name: "m", Sums: ann}, {Name: "other", Sums: odd}, {Name: "n", Sums: Sums{Requests: 2, Cost: 5}}},
		ByClient:  {{Name: "bob", Sums: Sums{Requests: 3, Errors: 1, Cost: 12}}, {Name: "ann", Sums: ann}},
	} {
		got, err := l.Groups(t.Context(), since, by)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("by %s: %v\n%s", by, err, diff)
		}
	}
	if got, err := l.Groups(t.Context(), Window{Client: "bob", Model: "n", Limit: 1}, ByBackend); err != nil || len(got) != 1 || got[0].Name != "b" {
		t.Errorf("one of bob's: %+v, %v", got, err)
	}
	if got, err := l.Groups(t.Context(), Window{Client: "nobody"}, ByHour); err != nil || len(got) != 0 {
		t.Errorf("nobody's: %+v, %v", got, err)
	}
	if _, err := l.Groups(t.Context(), since, "1; DROP TABLE hourly"); err == nil {
		t.Error("an unknown way is taken")
	}
}
