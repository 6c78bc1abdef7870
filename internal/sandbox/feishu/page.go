package feishu

import (
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed pages
var pages embed.FS

// shownMessages bounds the page; the API has everything.
const shownMessages = 100

// pageGap is the shortest time between two updates of an open page.
const pageGap = 150 * time.Millisecond

// chatsView is what the page shows.
type chatsView struct {
	Chats    []chatView
	Selected string // chat id, "" for all
	Messages []messageView
	Hidden   int // older messages that are left out
	Colours  []colourCount
	Counts   Counts
	Faults   []Fault
	Linked   int      // long connections
	People   []Person // who may press
	As       string   // who presses; "" = whose chat it is
}

type chatView struct {
	Chat
	Count int
	Last  Revision
}

type messageView struct {
	Message
	In     Chat
	Card   card.Card
	IsCard bool
	Older  []Revision // earlier states, newest first
	Thread []messageView
	Rev    string // changes with everything that is shown
	Back   string // query of the page, for the way back after a press
	As     string // who presses
	Press  *Press // the last press
}

type colourCount struct {
	Template string
	Count    int
}

// newUI reads the pages; name turns a receive id into a person's name.
func newUI(name func(string) string) (*webui.UI, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	return webui.New(webui.Program{Name: "Feishu sandbox", Funcs: template.FuncMap{"tone": tone,
		"person": func(id string) string { return "@" + name(strings.TrimPrefix(id, "@")) }}}, folder)
}

// tone maps the colours of the card language to the classes of the stylesheet.
func tone(colour string) string {
	colour, _, _ = strings.Cut(colour, "-")
	switch colour {
	case "red", "carmine":
		return "red"
	case "green", "turquoise", "lime":
		return "green"
	case "yellow", "orange":
		return "amber"
	case "blue", "wathet", "indigo":
		return "blue"
	case "purple", "violet":
		return "violet"
	case "grey":
		return "grey"
	}
	return "plain"
}

// urgency orders the header colours: what needs a person comes first.
func urgency(template string) int {
	order := []string{"red", "orange", "yellow", "blue", "grey", "green"}
	if i := slices.Index(order, template); i >= 0 {
		return i
	}
	return len(order)
}

func (s *Server) pageRoutes() {
	s.router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.showError(w, s.ui.Render(w, r, "chats.html", s.chats(r.URL.Query())))
	}).Methods(http.MethodGet)
	s.router.HandleFunc("/fragment", func(w http.ResponseWriter, r *http.Request) {
		s.showError(w, s.ui.Fragment(w, r, "chats.html", "chats", s.chats(r.URL.Query())))
	}).Methods(http.MethodGet)
	s.router.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		webui.Live(w, r, s.closing, pageGap, func() <-chan struct{} {
			_, changed := s.store.watch()
			return changed
		})
	}).Methods(http.MethodGet)
	s.router.HandleFunc("/press", s.pressed).Methods(http.MethodPost)
	s.router.PathPrefix("/assets/").Handler(s.ui).Methods(http.MethodGet)
}

func (s *Server) showError(w http.ResponseWriter, err error) {
	if err == nil {
		return
	}
	s.log.Error("showing the page failed", "error", err)
	w.WriteHeader(http.StatusInternalServerError)
}

func (s *Server) chats(query url.Values) chatsView {
	snapshot, selected := s.Snapshot(), query.Get("chat")
	v := chatsView{Counts: s.Counts(), Faults: s.Faults(), Selected: selected, Linked: s.Connections(), As: query.Get("as")}
	v.People = s.people(snapshot)
	pressed := s.lastPresses()
	byID, colours := map[string]int{}, map[string]int{}
	for i, c := range snapshot.Chats {
		byID[c.ID] = i
		v.Chats = append(v.Chats, chatView{Chat: c})
	}
	threads := map[string][]Message{}
	var roots []Message
	for _, m := range snapshot.Messages {
		chat := &v.Chats[byID[m.Chat]]
		chat.Count++
		chat.Last = m.Now()
		if selected != "" && m.Chat != selected {
			continue
		}
		if m.Parent != "" {
			threads[m.Parent] = append(threads[m.Parent], m)
			continue
		}
		roots = append(roots, m)
		if m.Now().Type == "interactive" && !m.Recalled {
			colours[m.Now().Template]++
		}
	}
	v.Hidden = max(0, len(roots)-shownMessages)
	for _, m := range slices.Backward(roots[v.Hidden:]) { // newest on top
		shown := s.view(m, v.Chats[byID[m.Chat]].Chat)
		shown.Back, shown.As, shown.Press = query.Encode(), s.presser(v, shown.In), pressed[m.ID]
		for _, reply := range threads[m.ID] {
			shown.Thread = append(shown.Thread, s.view(reply, shown.In))
		}
		v.Messages = append(v.Messages, shown)
	}
	for colour, count := range colours {
		v.Colours = append(v.Colours, colourCount{colour, count})
	}
	slices.SortFunc(v.Colours, func(a, b colourCount) int {
		return cmp.Or(urgency(a.Template)-urgency(b.Template), strings.Compare(a.Template, b.Template))
	})
	return v
}

func (s *Server) view(m Message, in Chat) messageView {
	v := messageView{Message: m, In: in, IsCard: m.Now().Type == "interactive",
		Rev: fmt.Sprintf("%d.%d.%t", m.RevisionCount, len(m.Urgents), m.Recalled)}
	for _, r := range slices.Backward(m.Revisions[:len(m.Revisions)-1]) {
		v.Older = append(v.Older, r)
	}
	if !v.IsCard {
		return v
	}
	parsed, err := card.Parse([]byte(m.Now().Content))
	if err != nil {
		s.log.Error("reading a stored card failed", "error", err)
	}
	v.Card = parsed
	return v
}
