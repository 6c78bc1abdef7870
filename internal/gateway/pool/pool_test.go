package pool

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

func made(names ...string) []*backend.Backend {
	var out []*backend.Backend
	for _, n := range names {
		pool, name := n[:1], n
		out = append(out, &backend.Backend{
			Config: backend.Config{Name: name, Pool: pool, Weight: 1, BaseURL: &url.URL{Host: "x"}, Models: map[string]backend.Model{"m": {}}, Dialects: []dialect.Name{dialect.OpenAI}},
			State:  backend.NewState(func() {}, func() {}),
		})
	}
	return out
}

func order(t *Table, client string) []string {
	var names []string
	candidates, _ := t.Order(&Ask{Model: "m", Dialect: dialect.OpenAI, Client: client}, time.Now())
	for _, c := range candidates {
		names = append(names, c.Name)
	}
	return names
}

func TestPoolsComeInTheirOrder(t *testing.T) {
	table := NewTable(made("z1", "b1", "a1", "b2", "a2"), Options{Pools: []string{"a", "b"}, Strategy: Priority})
	if got := order(table, "c"); !slices.Equal(got, []string{"a1", "a2", "b1", "b2", "z1"}) {
		t.Errorf("got %v", got)
	}
	if !table.Has("m") || table.Has("n") || len(table.Candidates("n")) != 0 || !slices.Equal(table.Models(), []string{"m"}) {
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
	busy, skip, _ := all[0].Acquire(backend.Ask{Model: "m"}, time.Now())
	if skip != "" {
		t.Fatal(skip)
	}
	busy.Succeeded(time.Second, time.Now())
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

// TestNeeds: a request goes only where it can be served, and where it cannot, what is
// lacking is named.
func TestNeeds(t *testing.T) {
	all := made("a1", "a2", "b1")
	all[0].Models["m"] = backend.Model{InputModalities: []string{"text"}}
	all[1].Models["m"] = backend.Model{InputModalities: []string{"text", "image"}, Reasoning: true, Capabilities: []string{"tools"}, Betas: []string{"x-1"}}
	all[2].Dialects = []dialect.Name{dialect.Anthropic}
	table := NewTable(all, Options{Strategy: Priority})
	for _, c := range []struct {
		name  string
		ask   Ask
		want  []string
		lacks []string
	}{
		{"nothing", Ask{}, []string{"a1", "a2"}, nil},
		{"dialect", Ask{Dialect: dialect.Anthropic}, []string{"b1"}, nil},
		{"image", Ask{Needs: Needs{Modalities: []request.Modality{request.Image}}}, []string{"a2"}, nil},
		{"image where nothing is said", Ask{Dialect: dialect.Anthropic, Needs: Needs{Modalities: []request.Modality{request.Image}}}, []string{"b1"}, nil},
		{"audio", Ask{Needs: Needs{Modalities: []request.Modality{request.Audio}}}, nil, []string{"audio input"}},
		{"reasoning", Ask{Needs: Needs{Reasoning: true}}, []string{"a2"}, nil},
		{"words", Ask{Needs: Needs{Capabilities: []string{"Vision", "tools", "reasoning"}}}, []string{"a2"}, nil},
		{"unknown word", Ask{Needs: Needs{Capabilities: []string{"telepathy"}}}, nil, []string{"capability telepathy"}},
		{"beta", Ask{Needs: Needs{Betas: []string{"x-1"}}}, []string{"a1", "a2"}, nil},
		{"other beta", Ask{Needs: Needs{Betas: []string{"x-2"}}}, []string{"a1"}, nil},
		{"only one will do", Ask{Backend: "a2"}, []string{"a2"}, nil},
		{"gone", Ask{Backend: "a9"}, nil, []string{"the backend a9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.ask.Model = "m"
			if c.ask.Dialect == "" {
				c.ask.Dialect = dialect.OpenAI
			}
			candidates, lacks := table.Order(&c.ask, time.Now())
			var got []string
			for _, x := range candidates {
				got = append(got, x.Name)
			}
			for _, l := range c.lacks {
				if !slices.Contains(lacks, l) {
					t.Errorf("lacks %q, want %q", lacks, c.lacks)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, lacks %q", got, lacks)
			}
		})
	}
}

// TestRanks: health comes before context, and both before the strategy; none leaves
// anyone out.
func TestRanks(t *testing.T) {
	all := made("a1", "a2", "a3")
	all[0].Models["m"] = backend.Model{ContextWindow: 1000}
	all[1].Models["m"] = backend.Model{ContextWindow: 100_000}
	for range 20 {
		p, _, _ := all[2].Acquire(backend.Ask{Model: "m"}, time.Now())
		p.Failed(&llm.Fault{Class: llm.ServerError}, time.Now())
		p.Release()
	}
	table := NewTable(all, Options{Strategy: Priority, Affinity: true})
	for tokens, want := range map[int64][]string{5000: {"a2", "a1", "a3"}, 500_000: nil} {
		candidates, _ := table.Order(&Ask{Model: "m", Dialect: dialect.OpenAI, Tokens: tokens}, time.Now())
		if len(candidates) != 3 || candidates[2].Name != "a3" || want != nil && candidates[0].Name != want[0] {
			t.Errorf("%d tokens: %s first of %d", tokens, candidates[0].Name, len(candidates))
		}
	}
}
