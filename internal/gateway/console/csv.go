package console

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
)

// usageCSV answers with the whole window, page by page, so that it is never all in
// memory. A file that could not be ended is cut off, not ended.
func (c *Console) usageCSV(w http.ResponseWriter, r *http.Request) {
	v, err := c.usageWindow(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	q := v.Query
	q.Set("limit", mostLines)
	var next url.Values
	if next, err = c.read(r, &v, q); err != nil {
		c.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="fleetwatch-usage-by-`+v.By+`.csv"`)
	out := csv.NewWriter(w)
	lines := [][]string{v.head()}
	for {
		if err := out.WriteAll(append(lines, v.lines()...)); err != nil {
			return // who asked is gone
		}
		if next == nil {
			return
		}
		lines = nil
		if next, err = c.read(r, &v, next); err != nil {
			c.options.Log.ErrorContext(r.Context(), "reading the ledger failed", "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// head names the columns as the API names them.
func (v usageView) head() []string {
	counts := []string{"request_count", "error_count", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost", "currency"}
	switch v.By {
	case "hour":
		return append(append([]string{"hour_bucket", "backend_id", "model", "client"}, counts...), "avg_latency_ms", "ttft_ms")
	case "day":
		return append(append([]string{"date", "pool"}, counts...), "unique_backends")
	default:
		return append(append([]string{v.By}, counts...), "avg_latency_ms", "ttft_ms")
	}
}

func (v usageView) lines() (out [][]string) {
	for _, x := range v.HourRows {
		line := []string{x.Bucket.Format(time.RFC3339), cell(x.Backend), cell(x.Model), cell(x.Client)}
		line = append(line, counts(x.Requests, x.Errors, x.Tokens, x.Cost, x.Currency)...)
		first := ""
		if x.TTFTMS != nil {
			first = number(*x.TTFTMS)
		}
		out = append(out, append(line, number(x.AvgLatencyMS), first))
	}
	for _, x := range v.DayRows {
		line := append([]string{x.Date, cell(x.Pool)}, counts(x.Requests, x.Errors, x.Tokens, x.Cost, x.Currency)...)
		out = append(out, append(line, strconv.FormatInt(x.UniqueBackends, 10)))
	}
	for _, x := range v.Groups {
		line := append([]string{cell(x.Name)}, counts(x.Requests, x.Errors, admin.TokensOf(x.Usage), units(x.Cost), v.Currency)...)
		first := ""
		if x.TTFBCount > 0 {
			first = number(meanTTFB(x.Sums))
		}
		out = append(out, append(line, number(float64(x.Duration.Microseconds())/1000/float64(max(x.Requests, 1))), first))
	}
	return out
}

func counts(requests, errors int64, t admin.Tokens, cost float64, currency string) []string {
	out := []string{}
	for _, n := range []int64{requests, errors, t.Input, t.Output, t.CacheRead, t.CacheWrite, t.Reasoning} {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return append(out, number(cost), cell(currency))
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// cell is text that no spreadsheet takes for a formula: an apostrophe in front says that
// it is text. https://owasp.org/www-community/attacks/CSV_Injection
func cell(text string) string {
	if strings.ContainsRune("=+-@\t\r\n＝＋－＠", firstOf(text)) {
		return "'" + text
	}
	return text
}

// firstOf is the first character; that of "" is in no set.
func firstOf(text string) rune {
	for _, c := range text {
		return c
	}
	return -1
}
