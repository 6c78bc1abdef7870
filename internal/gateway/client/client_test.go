package client

import (
	"net/http"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	fill := func(r *Registry) *Registry {
		if !r.Add(Client{Name: "coo", Models: []string{"m"}}, "key-of-coo") || !r.Add(Client{Name: "old", Expires: now}, "key-of-old") {
			t.Fatal("not added")
		}
		if r.Add(Client{Name: "twin"}, "key-of-coo") || r.Add(Client{Name: "empty"}, "") {
			t.Fatal("a taken or empty key was added")
		}
		return r
	}
	required, open := fill(NewRegistry(false)), fill(NewRegistry(true))
	for _, c := range []struct {
		name, header, value, required, open string
	}{
		{"bearer", "Authorization", "Bearer key-of-coo", "coo", "coo"},
		{"bearer, other case", "Authorization", "bearer  key-of-coo", "coo", "coo"},
		{"x-api-key", "X-Api-Key", "key-of-coo", "coo", "coo"},
		{"wrong", "Authorization", "Bearer nonsense", "", Anonymous},
		{"expired", "Authorization", "Bearer key-of-old", "", Anonymous},
		{"none", "X-Other", "x", "", Anonymous},
		{"empty", "Authorization", "Bearer ", "", Anonymous},
		{"basic", "Authorization", "Basic key-of-coo", "", Anonymous},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			h.Set(c.header, c.value)
			for _, x := range []struct {
				r    *Registry
				want string
			}{{required, c.required}, {open, c.open}} {
				got := ""
				if found := x.r.Find(h, now); found != nil {
					got = found.Name
				}
				if got != x.want {
					t.Errorf("got %q, want %q", got, x.want)
				}
			}
		})
	}
	if c := required.Find(http.Header{"X-Api-Key": {"key-of-coo"}}, now); !c.May("m") || c.May("n") {
		t.Error("the allow-list is not kept")
	}
}
