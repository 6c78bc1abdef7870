package gateway_test

import "testing"

// entry is one of the fault matrix of the gateway's specification.
type entry struct {
	name  string
	cells []string // that play it
	apart string   // why it is not played over both dialects, streamed and not; "" = it is
}

func matrix() []entry {
	const streams = "only streams have frames"
	return []entry{
		{"silent upstream", []string{"hang"}, ""},
		{"slow headers", []string{"slow headers"}, ""},
		{"headers then silence", []string{"silence"}, ""},
		{"lifecycle frames then error", []string{"early_error"}, ""},
		{"cut after 5 chunks", []string{"cut"}, streams},
		{"clean close without end marker", []string{"no_end", "no end marker"}, streams},
		{"error frame mid-stream", []string{"error_frame", "response.failed"}, streams},
		{"slow drip over the idle limit", []string{"drip", "drip after content"}, ""},
		{"long thinking that must NOT time out", []string{"long thinking"}, ""},
		{"429 with and without Retry-After, ms header, reset header", []string{"rate_limit", "retry-after", "retry-after-ms", "retry-after date", "reset header", "unified reset header"}, ""},
		{"forty 429s in flight at once", []string{"forty rate limits at once"}, ""},
		{"late success after a new cooldown", []string{"late success"}, ""},
		{"529", []string{"overloaded"}, ""},
		{"402", []string{"payment"}, ""},
		{"401", []string{"unauthorized", "unauthorized twice", "unauthorized everywhere"}, ""},
		{"403 on one model", []string{"forbidden", "forbidden key"}, ""},
		{"404 model", []string{"no_model"}, ""},
		{"400 invalid", []string{"bad_request"}, ""},
		{"content filter", []string{"content_filter"}, ""},
		{"HTML 502", []string{"html_502"}, ""},
		{"redirect", []string{"redirect"}, ""},
		{"gzip bomb", []string{"gzip_bomb", "packed body"}, ""},
		{"oversized body", []string{"body announced too large", "body grows too large", "too_large"}, ""},
		{"bad JSON", []string{"bad JSON", "deep JSON", "bad_json"}, ""},
		{"duplicate and escaped model keys", []string{"model twice", "model twice and escaped", "model escaped", "model escaped and not allowed"}, ""},
		{"unknown model", []string{"unknown model", "model not allowed"}, ""},
		{"client gone while queued", []string{"client gone while queued"}, ""},
		{"client gone while connecting", []string{"client gone while connecting"}, ""},
		{"client gone while streaming", []string{"client gone while streaming"}, streams},
		{"all pools exhausted", []string{"all pools fail", "all pools cooling"}, ""},
		{"emergency", []string{"emergency", "emergency that fails", "no emergency before the provider's time"}, ""},
		{"recovery", []string{"recovery"}, ""},
		{"restart during cooldown", []string{"restart in a cooldown"}, ""},
		{"reload during a stream", []string{"reload in an answer", "bad reload in an answer"}, ""},
		{"SIGTERM with 100 open streams", []string{"stopping drains", "stopping cuts short", "SIGTERM drains"}, ""},
		{"clock jump", []string{
			"clock ahead in a cooldown", "clock back in a cooldown", "clock ahead, a provider's date", "clock back, a provider's date", "clock back, a quota", "clock back and a restart",
			"clock ahead in an answer", "clock back in an answer", "clock ahead in a minute", "clock back in a minute", "clock back as a cooldown ends",
			"budget day come and gone", "budget day come again",
		}, ""},
		{"disk full", []string{"disk full and open", "disk full and closed"}, ""},
		{"header bomb", []string{"header bomb", "no HTTP"}, "there is no request yet that could be of a dialect"},
		{"slow-loris body", []string{"body that trickles", "more bodies than are held"}, ""},
	}
}

// TestTheMatrixIsWhole: every entry is played, over both dialects and streamed or not,
// where nothing says why not.
func TestTheMatrixIsWhole(t *testing.T) {
	cells := map[string][]cell{}
	for _, c := range tables() {
		cells[c.name] = append(cells[c.name], c)
	}
	for _, e := range matrix() {
		played := map[string]bool{}
		for _, name := range e.cells {
			if cells[name] == nil {
				t.Errorf("%s: there is no cell %q", e.name, name)
			}
			for _, c := range cells[name] {
				for _, w := range c.over() {
					for _, mode := range modes() {
						played[w.name+" "+mode] = played[w.name+" "+mode] || c.in(mode)
					}
				}
			}
		}
		for _, over := range []string{"chat plain", "chat stream", "messages plain", "messages stream"} {
			if !played[over] && e.apart == "" {
				t.Errorf("%s is not played over %s", e.name, over)
			}
		}
		if len(e.cells) == 0 || !played["chat plain"] && !played["chat stream"] {
			t.Errorf("%s is not played", e.name)
		}
	}
}
