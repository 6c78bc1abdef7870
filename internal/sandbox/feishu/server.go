// Package feishu is a stand-in for the Feishu open platform: tenant tokens, app
// messages, custom bots, their limits and their error codes, and the long
// connection that carries presses of buttons, as a plain HTTP handler that the
// official SDK talks to by base URL alone. It keeps the chats
// in memory (optionally in a snapshot file), shows them on a page, and plays
// scripted faults.
//
// It promises to refuse what Feishu refuses with the code Feishu uses, and to
// accept nothing that Feishu would not. What only a live tenant could tell is
// marked (unverified) where it is decided.
//
// API facts: https://open.feishu.cn/document/server-docs/im-v1/message/create
package feishu

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

// Options configures a Server. The zero value is a server without limits,
// without a snapshot, that accepts any app and any bot.
type Options struct {
	// Apps maps app id to app secret. Empty accepts every non-empty pair.
	Apps map[string]string
	// Bots maps the token of a custom bot (last part of its hook URL) to its settings.
	Bots map[string]Bot
	// KnownBotsOnly refuses bot tokens that are not in Bots with 19001; otherwise
	// an unknown token becomes a bot without secret and keyword on first use.
	KnownBotsOnly bool
	// Names gives receive ids (ou_..., oc_...) a name for people.
	Names map[string]string
	// Limits are the send limits; see PublishedLimits. A zero limit is no limit.
	Limits Limits
	// SnapshotPath is a file that keeps chats and uuid memory over a restart.
	SnapshotPath string
	// MaxMessages bounds memory: beyond it the oldest messages are forgotten.
	// Zero means 20,000.
	MaxMessages int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what the stand-in itself has to say; nil discards it.
	Log *slog.Logger
}

// Bot configures one custom bot.
type Bot struct {
	Name    string
	Secret  string // sign is required and checked when set
	Keyword string // must appear in the message when set
}

// Server is the stand-in. Close it to write the last snapshot and to let go of
// requests that a fault keeps hanging.
type Server struct {
	opts    Options
	now     func() time.Time
	log     *slog.Logger
	router  *mux.Router
	root    http.Handler // router behind webui's guard, for all but the API
	ui      *webui.UI
	checker *card.Checker
	store   *store
	tokens  *tokens
	limiter *limiter
	faults  *faults
	journal *journal
	saver   *saver
	links   *links
	presses *presses
	tenants *tenants

	closing   chan struct{}
	closeOnce sync.Once
}

// New returns a server with what its snapshot holds. It fails when the snapshot
// file cannot be read.
func New(opts Options) (*Server, error) {
	opts.Names = maps.Clone(opts.Names)
	if opts.Names == nil {
		opts.Names = map[string]string{}
	}
	if opts.Names[stranger] == "" {
		opts.Names[stranger] = "路人 (stranger)"
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxMessages == 0 {
		opts.MaxMessages = 20000
	}
	s := &Server{
		opts: opts, now: opts.Now, log: opts.Log,
		checker: card.NewChecker(),
		store:   newStore(opts.MaxMessages),
		tokens:  newTokens(),
		limiter: newLimiter(),
		faults:  &faults{},
		journal: &journal{},
		links:   newLinks(),
		presses: &presses{},
		tenants: &tenants{},
		closing: make(chan struct{}),
	}
	ui, err := newUI(s.name)
	if err != nil {
		return nil, err
	}
	s.ui = ui
	s.routes()
	if opts.SnapshotPath != "" {
		saver, err := newSaver(opts.SnapshotPath, s.store, opts.Log)
		if err != nil {
			return nil, err
		}
		s.saver = saver
	}
	return s, nil
}

// ServeHTTP answers the open platform's API, the control API and the page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/open-apis/") || strings.HasPrefix(r.URL.Path, "/callback/") {
		s.router.ServeHTTP(w, r)
		return
	}
	s.root.ServeHTTP(w, r)
}

// Close ends hanging requests, streams and long connections and writes the last
// snapshot.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	s.links.close()
	s.presses.running.Wait()
	if s.saver == nil {
		return nil
	}
	return s.saver.close()
}

func (s *Server) routes() {
	s.router = mux.NewRouter()
	s.tenantRoutes()
	api := s.router.PathPrefix("/open-apis").Subrouter()
	api.Handle("/auth/v3/tenant_access_token/internal", s.endpoint(OpToken, s.issueToken)).Methods(http.MethodPost)
	api.Handle("/im/v1/messages", s.endpoint(OpCreate, s.withToken(s.allowed(s.create, sendScopes()...)))).Methods(http.MethodPost)
	api.Handle("/im/v1/messages", s.endpoint(OpList, s.withToken(s.allowed(s.list, historyScopes()...)))).Methods(http.MethodGet)
	api.Handle("/im/v1/messages/{message_id}", s.endpoint(OpPatch, s.withToken(s.allowed(s.patch, patchScopes()...)))).Methods(http.MethodPatch)
	api.Handle("/im/v1/messages/{message_id}", s.endpoint(OpRecall, s.withToken(s.recall))).Methods(http.MethodDelete)
	api.Handle("/im/v1/messages/{message_id}/reply", s.endpoint(OpReply, s.withToken(s.allowed(s.reply, sendScopes()...)))).Methods(http.MethodPost)
	api.Handle("/im/v1/messages/{message_id}/urgent_{channel:app|sms|phone}", s.endpoint(OpUrgent, s.withToken(s.allowedUrgent(s.urgent)))).Methods(http.MethodPatch)
	api.Handle("/bot/v2/hook/{token}", s.endpoint(OpBot, s.bot)).Methods(http.MethodPost)
	api.NotFoundHandler = s.endpoint(OpOther, func(*call) answer {
		return answer{status: http.StatusNotFound, code: 99991000, msg: "this stand-in does not know the endpoint"}
	})
	s.router.Handle("/callback/ws/endpoint", s.endpoint(OpConnect, s.connectEndpoint)).Methods(http.MethodPost)
	s.router.HandleFunc("/callback/ws", s.connect).Methods(http.MethodGet)
	s.controlRoutes()
	s.pageRoutes()
	s.root = webui.Guard(s.router)
}

// hang waits until the client has gone or the server closes.
func (s *Server) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.closing:
	}
}
