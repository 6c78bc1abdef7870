package webui

import (
	"fmt"
	"net/http"
	"time"
)

// keepAlive is how often an idle stream is written to, so that proxies keep it.
const keepAlive = 15 * time.Second

// Live answers an event stream that says "changed" now and after every change, at
// most once in gap, until the client goes or end closes. changed returns a channel
// that closes at the next change.
func Live(w http.ResponseWriter, r *http.Request, end <-chan struct{}, gap time.Duration, changed func() <-chan struct{}) {
	out := http.NewResponseController(w)
	if err := out.SetWriteDeadline(time.Time{}); err != nil {
		http.Error(w, "streams are not supported here", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		next := changed()
		if _, err := fmt.Fprint(w, "event: changed\ndata: {}\n\n"); err != nil || out.Flush() != nil {
			return
		}
		if !pause(r, end, gap) || !awaitChange(w, r, end, beat.C, next) {
			return
		}
	}
}

func pause(r *http.Request, end <-chan struct{}, gap time.Duration) bool {
	timer := time.NewTimer(gap)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-end:
		return false
	case <-timer.C:
		return true
	}
}

// awaitChange waits for the change and keeps the stream alive meanwhile.
func awaitChange(w http.ResponseWriter, r *http.Request, end <-chan struct{}, beat <-chan time.Time, next <-chan struct{}) bool {
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return false
		case <-end:
			return false
		case <-next:
			return true
		case <-beat:
			if _, err := fmt.Fprint(w, ": alive\n\n"); err != nil || out.Flush() != nil {
				return false
			}
		}
	}
}
