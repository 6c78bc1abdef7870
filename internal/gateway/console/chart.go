package console

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
)

// chart is one figure: a bar for every hour. Its picture is chartWidth by chartHeight.
type chart struct {
	Name string // requests, cost, tokens, ttfb
	Max  float64
	Bars []bar
	From time.Time
}

// bar is an hour of a chart. Bad is a part of the bar, drawn on its foot.
type bar struct {
	At              time.Time
	Sums            ledger.Sums
	Value           float64
	Known           bool // there is a value
	Slot, X, Y, H   float64
	BadY, BadH      float64
	SlotWide, Width float64
}

const (
	chartWidth  = 480.0
	chartHeight = 100.0
	// leastHeight lets an hour with little be told from one with nothing.
	leastHeight = 1.5
)

// charts draws the hours that begin with first. Those that are missing had no requests.
func charts(hours []ledger.Group, first time.Time) []chart {
	sums := map[int64]ledger.Sums{}
	for _, h := range hours {
		sums[h.At.Unix()] = h.Sums
	}
	var out []chart
	for _, c := range []struct {
		name  string
		value func(ledger.Sums) (all, bad float64, known bool)
	}{
		{"requests", func(s ledger.Sums) (float64, float64, bool) { return float64(s.Requests), float64(s.Errors), true }},
		{"cost", func(s ledger.Sums) (float64, float64, bool) { return units(s.Cost), 0, true }},
		{"tokens", func(s ledger.Sums) (float64, float64, bool) { return float64(s.Usage.Total()), 0, true }},
		{"ttfb", func(s ledger.Sums) (float64, float64, bool) { return meanTTFB(s), 0, s.TTFBCount > 0 }},
	} {
		one := chart{Name: c.name, From: first}
		for i := range chartHours {
			at := first.Add(time.Duration(i) * time.Hour)
			value, _, _ := c.value(sums[at.Unix()])
			one.Max = max(one.Max, value)
		}
		for i := range chartHours {
			at := first.Add(time.Duration(i) * time.Hour)
			value, bad, known := c.value(sums[at.Unix()])
			one.Bars = append(one.Bars, draw(i, bar{At: at, Sums: sums[at.Unix()], Value: value, Known: known}, bad, one.Max))
		}
		out = append(out, one)
	}
	return out
}

// draw places the bar of the hour i.
func draw(i int, b bar, bad, most float64) bar {
	b.SlotWide = chartWidth / chartHours
	b.Width = b.SlotWide * 0.7
	b.Slot = float64(i) * b.SlotWide
	b.X = b.Slot + (b.SlotWide-b.Width)/2
	b.H, b.BadH = height(b.Value, most), height(bad, most)
	b.Y, b.BadY = chartHeight-b.H, chartHeight-b.BadH
	return b
}

func height(value, most float64) float64 {
	if value <= 0 || most <= 0 {
		return 0
	}
	return max(leastHeight, value/most*chartHeight)
}

// meanTTFB is the average time to the first byte in milliseconds; 0 where none came.
func meanTTFB(s ledger.Sums) float64 {
	if s.TTFBCount == 0 {
		return 0
	}
	return float64(s.TTFB.Microseconds()) / 1000 / float64(s.TTFBCount)
}

// point is a value of a chart, to be written.
type point struct {
	Name  string
	Value float64
	Count int64
}
