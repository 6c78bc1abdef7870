package pool

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
)

func made(names ...string) []*backend.Backend {
	var out []*backend.Backend
	for _, n := range names {
		pool, name := n[:1], n
		out = append(out, &backend.Backend{
			Config: backend.Config{Name: name, Pool: pool, Weight: 1, BaseURL: &url.URL{Host: "x"}, Models: map[string]backend.Model{"m": {}}},
			State:  backend.NewState(func() {}),
		})
	}
	return out
}

func order(t *Table, client string) []string {
	var names []string
	for _, c := range t.Order("m", client, time.Now()) {
		names = append(names, c.Name)
	}
	return names
}

func TestPoolsComeInTheirOrder(t *testing.T) {
	table := NewTable(made("z1", "b1", "a1", "b2", "a2"), Options{Pools: []string{"a", "b"}, Strategy: Priority})
	if got := order(table, "c"); !slices.Equal(got, []string{"a1", "a2", "b1", "b2", "z1"}) {
		t.Errorf("got %v", got)
	}
	if !table.Has("m") || table.Has("n") || len(table.Order("n", "c", time.Now())) != 0 || !slices.Equal(table.Models(), []string{"m"}) {
		t.Error("models")
	}
}

// TestAffinity: a client keeps its order; clients are spread by weight; a backend that
// goes moves no other client.
func TestAffinity(t *testing.T) {
	all := made("a1", "a2", "a3", "a4")
	all[3].Weight = 3
	whole, without := NewTable(all, Options{Affinity: true}), NewTable(all[1:], Options{Affinity: true})
	first := map[string]int{}
	const clients = 6000
	for i := range clients {
		client := fmt.Sprintf("client-%d", i)
		got := order(whole, client)
		if !slices.Equal(got, order(whole, client)) {
			t.Fatal("another order the second time")
		}
		first[got[0]]++
		left := slices.DeleteFunc(slices.Clone(got), func(n string) bool { return n == "a1" })
		if !slices.Equal(left, order(without, client)) {
			t.Fatalf("%s moved: %v, %v", client, got, order(without, client))
		}
	}
	for name, share := range map[string]float64{"a1": 1. / 6, "a2": 1. / 6, "a3": 1. / 6, "a4": 3. / 6} {
		if got := float64(first[name]) / clients; got < share*0.85 || got > share*1.15 {
			t.Errorf("%s is the first of %.2f of the clients, want %.2f", name, got, share)
		}
	}
}

func TestStrategies(t *testing.T) {
	all := made("a1", "a2")
	busy, skip, _ := all[0].Acquire("m", 0, time.Now())
	if skip != "" {
		t.Fatal(skip)
	}
	busy.Succeeded(time.Second)
	for strategy, want := range map[Strategy]string{LeastUtilized: "a2", Priority: "a1", LowestLatency: "a2"} {
		if got := order(NewTable(all, Options{Strategy: strategy}), "c")[0]; got != want {
			t.Errorf("%s begins with %s, want %s", strategy, got, want)
		}
	}
	weighted := made("a1", "a2")
	weighted[1].Weight = 9
	table, n := NewTable(weighted, Options{Strategy: Weighted}), 0
	for range 2000 {
		if order(table, "c")[0] == "a2" {
			n++
		}
	}
	if n < 1700 || n > 1900 {
		t.Errorf("nine tenths of the weight come first %d times of 2000", n)
	}
}
