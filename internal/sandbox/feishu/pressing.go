package feishu

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Person is somebody who may press buttons on the page.
type Person struct{ ID, Name string }

// stranger is nobody's operator.
const stranger = "ou_sandbox_stranger"

// people are those with a name or a chat of their own, and a stranger.
func (s *Server) people(snapshot Snapshot) []Person {
	ids := []string{}
	for id := range s.opts.Names {
		ids = append(ids, id)
	}
	for _, c := range snapshot.Chats {
		ids = append(ids, c.To)
	}
	slices.Sort(ids)
	var out []Person
	for _, id := range slices.Compact(ids) {
		if strings.HasPrefix(id, "ou_") && id != stranger {
			out = append(out, Person{ID: id, Name: s.name(id)})
		}
	}
	return append(out, Person{ID: stranger, Name: s.name(stranger)})
}

// presser is who presses the buttons of a chat's cards: who was chosen, else the
// person whose chat it is, else the first one.
func (s *Server) presser(v chatsView, chat Chat) string {
	switch {
	case v.As != "":
		return v.As
	case strings.HasPrefix(chat.To, "ou_"):
		return chat.To
	default:
		return v.People[0].ID
	}
}

// lastPresses is the last press on each message.
func (s *Server) lastPresses() map[string]*Press {
	out := map[string]*Press{}
	for _, p := range s.Presses() {
		out[p.Message] = &p
	}
	return out
}

// pressed answers POST /press, which the page's buttons send: with the press as
// JSON where that is asked for, else with the way back to the page.
func (s *Server) pressed(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	message, button, operator := r.PostFormValue("message"), r.PostFormValue("button"), r.PostFormValue("operator")
	if !strings.HasPrefix(operator, "ou_") {
		s.writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "bad_operator", "message": "operator: expected an open id, ou_..."}})
		return
	}
	p, err := s.Press(r.Context(), message, button, operator)
	switch {
	case errors.Is(err, ErrNoButton):
		s.writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]string{"code": "no_button", "message": err.Error()}})
	case err != nil:
		s.log.Error("pressing a button failed", "error", err)
		s.writeJSON(w, http.StatusInternalServerError, map[string]any{"error": map[string]string{"code": "press_failed", "message": "the press could not be made"}})
	case strings.Contains(r.Header.Get("Accept"), "application/json"):
		s.writeJSON(w, http.StatusOK, p)
	default:
		query, _ := url.ParseQuery(r.PostFormValue("back"))           // what is not understood leads to all messages
		http.Redirect(w, r, "/?"+query.Encode(), http.StatusSeeOther) //nolint:gosec // G710: the query of this very page, whatever it holds
	}
}
