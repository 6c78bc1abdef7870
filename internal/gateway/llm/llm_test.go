package llm

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestEveryClassHasARemedy(t *testing.T) {
	for _, c := range Classes() {
		if c.Remedy() == "" {
			t.Errorf("%s: no remedy", c)
		}
	}
	if Class("").MovesOn() || Class("").Lasting() || Class("").Remedy() != "" {
		t.Error("no failure moves on, lasts or has a remedy")
	}
}

func TestCostIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		u := Usage{Input: random.Int64N(5e6), Output: random.Int64N(5e6), CacheRead: random.Int64N(5e6), CacheWrite: 5e6 + random.Int64N(5e6), CacheWrite1h: random.Int64N(5e6), Reasoning: 77}
		p := Price{PriceOf(random.Float64() * 100), PriceOf(random.Float64() * 100), PriceOf(random.Float64()), PriceOf(0.00015), PriceOf(random.Float64() * 10)}
		sum := new(big.Int)
		for _, x := range [][2]int64{{u.Input, int64(p.Input)}, {u.Output, int64(p.Output)}, {u.CacheRead, int64(p.CacheRead)}, {u.CacheWrite - u.CacheWrite1h, int64(p.CacheWrite)}, {u.CacheWrite1h, int64(p.CacheWrite1h)}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(x[0]), big.NewInt(x[1])))
		}
		want := sum.Add(sum, big.NewInt(500_000)).Div(sum, big.NewInt(1_000_000)).Int64()
		if got := p.Cost(u); int64(got) != want {
			t.Fatalf("Cost(%+v, %+v) = %d, want %d", p, u, got, want)
		}
	}
}

func TestCost(t *testing.T) {
	dear := Price{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64}
	for _, c := range []struct {
		price Price
		usage Usage
		want  Nano
	}{
		{Price{}, Usage{Input: 1000}, 0},
		{Price{Input: PriceOf(1), Output: PriceOf(4), CacheRead: PriceOf(0.1)}, Usage{Input: 1000, Output: 500, CacheRead: 2000}, 1_000_000 + 2_000_000 + 200_000},
		{Price{Output: PriceOf(4)}, Usage{Output: 10, Reasoning: 10}, 40_000},
		{Price{Input: PriceOf(1)}, Usage{Input: -5}, 0},
		{Price{CacheWrite: PriceOf(5), CacheWrite1h: PriceOf(8)}, Usage{CacheWrite: 1000, CacheWrite1h: 400}, 3_000_000 + 3_200_000},
		{Price{CacheWrite: PriceOf(5)}, Usage{CacheWrite: 1000, CacheWrite1h: 400}, 5_000_000},
		{Price{CacheWrite1h: PriceOf(8)}, Usage{CacheWrite: 1000, CacheWrite1h: 400}, 3_200_000},
		{Price{CacheWrite: PriceOf(5), CacheWrite1h: PriceOf(8)}, Usage{CacheWrite: 100, CacheWrite1h: 400}, 800_000},
		{Price{CacheWrite: PriceOf(5), CacheWrite1h: PriceOf(8)}, Usage{CacheWrite: 100, CacheWrite1h: -4}, 500_000},
		{dear, Usage{Input: math.MaxInt64, Output: math.MaxInt64, CacheRead: math.MaxInt64, CacheWrite: math.MaxInt64, CacheWrite1h: math.MaxInt64 / 3}, math.MaxInt64},
	} {
		if got := c.price.Cost(c.usage); got != c.want {
			t.Errorf("Cost(%+v, %+v) = %d, want %d", c.price, c.usage, got, c.want)
		}
	}
}
