package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

// longText is how many characters of an error a page shows.
const longText = 1000

// usage is how much of a limit a minute is used.
type usage struct {
	Limit int
	share float64
}

// Used is the count that is used.
func (u usage) Used() int64 { return int64(math.Round(u.share * float64(u.Limit))) }

// Percent is the width of the gauge.
func (u usage) Percent() float64 { return math.Round(min(max(u.share, 0), 1)*1000) / 10 }

// Full reports whether nothing is left.
func (u usage) Full() bool { return u.share >= 1 }

// money writes an amount with as many digits as it needs to be told from nothing.
func money(amount float64) string {
	digits := 2
	switch {
	case amount == 0:
		return "0"
	case amount < 0.0001:
		digits = 9
	case amount < 0.01:
		digits = 6
	case amount < 1:
		digits = 4
	}
	whole, rest, _ := strings.Cut(strconv.FormatFloat(amount, 'f', digits, 64), ".")
	for len(rest) > 2 && rest[len(rest)-1] == '0' {
		rest = rest[:len(rest)-1]
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil { // more digits than a count has
		return whole
	}
	return webui.Group(n) + "." + rest
}

// units turns the ledger's amounts into units of currency.
func units(n llm.Nano) float64 { return float64(n) / llm.NanoPerUnit }

// duration writes milliseconds.
func duration(ms any) string {
	var n float64
	switch v := ms.(type) {
	case float64:
		n = v
	case *float64:
		if v == nil {
			return "—"
		}
		n = *v
	}
	switch {
	case n >= 10_000:
		return fmt.Sprintf("%.1f s", n/1000)
	case n >= 1000:
		return fmt.Sprintf("%.2f s", n/1000)
	case n >= 10:
		return fmt.Sprintf("%.0f ms", n)
	default:
		return fmt.Sprintf("%.1f ms", n)
	}
}

// ratio is a part of all; nothing of nothing is 0.
func ratio(part, all int64) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

// percent writes a share. What is not nothing does not look like nothing, nor what is
// not all like all.
func percent(share float64) string {
	text := strconv.FormatFloat(share*100, 'f', 1, 64)
	switch {
	case share > 0 && text == "0.0":
		return "<0.1 %"
	case share < 1 && text == "100.0":
		return ">99.9 %"
	}
	return strings.TrimSuffix(text, ".0") + " %"
}
