package llm

import (
	"math"
	"math/bits"
)

// UsageSource says where token counts come from.
type UsageSource string

// The sources: the provider's own numbers, our guess from bytes, or nothing.
const (
	Reported  UsageSource = "reported"
	Estimated UsageSource = "estimated"
	Missing   UsageSource = "missing"
)

// bytesPerToken is the guess where a provider reports nothing.
const bytesPerToken = 3

// EstimateTokens guesses tokens from bytes of text.
func EstimateTokens(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }

// Usage counts tokens in four disjoint buckets. Reasoning is a part of Output, and
// CacheWrite1h, what was written to be kept for an hour, a part of CacheWrite.
type Usage struct {
	Input, Output, CacheRead, CacheWrite int64
	Reasoning, CacheWrite1h              int64
	Source                               UsageSource
}

// Total is the sum of the buckets.
func (u Usage) Total() int64 { return u.Input + u.Output + u.CacheRead + u.CacheWrite }

// Nano is an amount of money in thousand-millionths of the currency's unit.
type Nano int64

// NanoPerUnit is how many Nano make one unit of currency.
const NanoPerUnit = 1e9

// Price is what a million tokens of each bucket cost, in Nano.
type Price struct {
	Input      Nano `json:"input,omitempty"`
	Output     Nano `json:"output,omitempty"`
	CacheRead  Nano `json:"cache_read,omitempty"`
	CacheWrite Nano `json:"cache_write,omitempty"`
	// CacheWrite1h is the price of what is kept for an hour; 0 = as CacheWrite.
	CacheWrite1h Nano `json:"cache_write_1h,omitempty"`
}

// PriceOf turns an amount per million tokens into Nano, rounding to the nearest.
func PriceOf(perMillion float64) Nano { return Nano(math.Round(perMillion * NanoPerUnit)) }

// Cost is what the usage costs, rounded to the nearest Nano; it is exact up to
// that, and saturates instead of overflowing. Counts and prices are not negative.
func (p Price) Cost(u Usage) Nano {
	hour, hourPrice := min(max(u.CacheWrite1h, 0), max(u.CacheWrite, 0)), p.CacheWrite1h
	if hourPrice == 0 {
		hourPrice = p.CacheWrite
	}
	// The high halves fit: each is below 2^62, and the last two are parts of one bucket.
	var high, low uint64
	for _, x := range [...]struct {
		tokens int64
		price  Nano
	}{{u.Input, p.Input}, {u.Output, p.Output}, {u.CacheRead, p.CacheRead}, {u.CacheWrite - hour, p.CacheWrite}, {hour, hourPrice}} {
		if x.tokens <= 0 || x.price <= 0 {
			continue
		}
		h, l := bits.Mul64(uint64(x.tokens), uint64(x.price))
		var carry uint64
		low, carry = bits.Add64(low, l, 0)
		high += h + carry
	}
	const million = 1_000_000
	low, carry := bits.Add64(low, million/2, 0)
	if high += carry; high >= million {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(high, low, million)
	return Nano(min(quotient, math.MaxInt64))
}
