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
	if !begin(w, out) {
		return
	}
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

// begin makes an answer that lasts.
func begin(w http.ResponseWriter, out *http.ResponseController) bool {
	if err := out.SetWriteDeadline(time.Time{}); err != nil {
		http.Error(w, "streams are not supported here", http.StatusNotImplemented)
		return false
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	return true
}

// frameTime is how long a viewer may take to take a frame in.
const frameTime = 10 * time.Second

// Frames answers an event stream of frames, each of which is one line, until the client
// goes, end or frames closes, or a viewer does not take a frame in. Before each, still is
// asked whether the viewer may go on looking.
func Frames(w http.ResponseWriter, r *http.Request, end <-chan struct{}, frames <-chan []byte, still func() bool) {
	out := http.NewResponseController(w)
	if !begin(w, out) || out.Flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case frame, ok := <-frames:
			if !ok || !still() || out.SetWriteDeadline(time.Now().Add(frameTime)) != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", frame); err != nil || out.Flush() != nil {
				return
			}
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
