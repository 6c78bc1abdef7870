package feishu

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	larkws "github.com/larksuite/oapi-sdk-go/v3/ws"
)

// Documented limits and answers of long connections.
// https://open.feishu.cn/document/server-docs/event-subscription-guide/event-subscription-configure-/request-url-configuration-case
const (
	maxLinks    = 50 // connections of one app
	pongConfig  = 90 // seconds between two pings, as told to clients
	linkService = "33554678"
	writeWait   = 5 * time.Second
	ticketLife  = time.Minute
)

// links holds the long connections of the apps.
type links struct {
	upgrader websocket.Upgrader

	mu      sync.Mutex
	tickets map[string]ticket
	open    map[string][]*link // by app
	closed  bool
	running sync.WaitGroup
}

// ticket lets its holder connect once.
type ticket struct {
	app     string
	expires time.Time
}

// link is one long connection.
type link struct {
	app    string
	socket *websocket.Conn
	write  sync.Mutex

	mu      sync.Mutex
	waiting map[string]chan larkws.Response // by message id
}

func newLinks() *links {
	return &links{tickets: map[string]ticket{}, open: map[string][]*link{}}
}

// connectEndpoint answers POST /callback/ws/endpoint: where to connect, and how
// often to ping.
func (s *Server) connectEndpoint(c *call) answer {
	var in larkws.BootstrapRequest
	if !c.decode(&in) || in.AppID == "" || in.AppSecret == "" {
		return answer{code: 10003, msg: "invalid param"} // (unverified) the code
	}
	if secret, known := s.opts.Apps[in.AppID]; len(s.opts.Apps) > 0 && (!known || secret != in.AppSecret) {
		return answer{code: 10014, msg: "app secret invalid"} // (unverified) the code
	}
	query := url.Values{
		"device_id": {newID("")}, "service_id": {linkService}, "access_key": {s.links.admit(in.AppID, s.now())},
	}
	where := url.URL{Scheme: "ws", Host: c.r.Host, Path: "/callback/ws", RawQuery: query.Encode()}
	return answer{data: larkws.Endpoint{Url: where.String(), ClientConfig: linkConfig()}}
}

// linkConfig names every field: a client takes an absent one for zero, and the
// SDK then pings without a pause.
func linkConfig() *larkws.ClientConfig {
	return &larkws.ClientConfig{ReconnectCount: -1, ReconnectInterval: 120, ReconnectNonce: 30, PingInterval: pongConfig}
}

// admit issues a ticket.
func (l *links) admit(app string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.tickets {
		if !t.expires.After(now) {
			delete(l.tickets, key)
		}
	}
	key := newID("")
	l.tickets[key] = ticket{app: app, expires: now.Add(ticketLife)}
	return key
}

// redeem returns the app of a ticket, "" where it is not in force.
func (l *links) redeem(key string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.tickets[key]
	delete(l.tickets, key)
	if !ok || !t.expires.After(now) {
		return ""
	}
	return t.app
}

// connect answers GET /callback/ws with a long connection that lasts until
// either side ends it.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	app := s.links.redeem(r.URL.Query().Get("access_key"), s.now())
	if app == "" {
		handshakeRefused(w, larkws.Forbidden, 0, "the ticket is not valid")
		return
	}
	if s.links.count(app) >= maxLinks {
		handshakeRefused(w, larkws.AuthFailed, larkws.ExceedConnLimit, "the number of connections exceeded the limit")
		return
	}
	socket, err := s.links.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("a long connection was not made", "error", err)
		return
	}
	one := &link{app: app, socket: socket, waiting: map[string]chan larkws.Response{}}
	if !s.links.add(one) {
		one.end()
		return
	}
	defer s.links.running.Done()
	s.store.announce()
	one.read(func(err error) { s.log.Debug("a long connection ended", "error", err) })
	s.links.remove(one)
	s.store.announce()
}

func handshakeRefused(w http.ResponseWriter, status, authCode int, message string) {
	h := w.Header()
	h.Set(larkws.HeaderHandshakeStatus, strconv.Itoa(status))
	h.Set(larkws.HeaderHandshakeMsg, message)
	if authCode != 0 {
		h.Set(larkws.HeaderHandshakeAuthErrCode, strconv.Itoa(authCode))
	}
	w.WriteHeader(http.StatusForbidden)
}

// add reports false once the server closes.
func (l *links) add(one *link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Add(1)
	l.open[one.app] = append(l.open[one.app], one)
	return true
}

// close ends every connection, takes no more, and waits until all have ended.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.drop()
	l.running.Wait()
}

func (l *links) remove(one *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[one.app] = slices.DeleteFunc(l.open[one.app], func(x *link) bool { return x == one })
}

func (l *links) count(app string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open[app])
}

func (l *links) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, open := range l.open {
		n += len(open)
	}
	return n
}

// pick returns one connection of the app by chance, as Feishu does, nil where
// there is none.
func (l *links) pick(app string) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := l.open[app]
	if len(open) == 0 {
		return nil
	}
	return open[rand.IntN(len(open))] //nolint:gosec // chooses a connection, guards nothing
}

// drop ends every connection.
func (l *links) drop() {
	l.mu.Lock()
	var all []*link
	for _, open := range l.open {
		all = append(all, open...)
	}
	l.mu.Unlock()
	for _, one := range all {
		one.end()
	}
}

// Connections is how many long connections are open.
func (s *Server) Connections() int { return s.links.total() }

// DropConnections ends every long connection, as Feishu now and then does.
func (s *Server) DropConnections() { s.links.drop() }

func (l *link) end() { _ = l.socket.Close() } // the reader tells that it has ended

// read takes frames in until the connection ends.
func (l *link) read(ended func(error)) {
	defer l.end()
	for {
		kind, message, err := l.socket.ReadMessage()
		if err != nil {
			ended(err)
			return
		}
		var frame larkws.Frame
		if kind != websocket.BinaryMessage || frame.Unmarshal(message) != nil {
			continue
		}
		if err := l.take(frame); err != nil {
			ended(err)
			return
		}
	}
}

// take answers a ping and hands the answer to an event to who waits for it.
func (l *link) take(frame larkws.Frame) error {
	headers := larkws.Headers(frame.Headers)
	switch {
	case larkws.FrameType(frame.Method) == larkws.FrameTypeControl && headers.GetString(larkws.HeaderType) == string(larkws.MessageTypePing):
		config, err := json.Marshal(linkConfig())
		if err != nil {
			return err
		}
		pong := larkws.Frame{Method: int32(larkws.FrameTypeControl), Service: frame.Service, Payload: config,
			Headers: []larkws.Header{{Key: larkws.HeaderType, Value: string(larkws.MessageTypePong)}}}
		return l.send(pong)
	case larkws.FrameType(frame.Method) == larkws.FrameTypeData:
		var response larkws.Response
		if json.Unmarshal(frame.Payload, &response) != nil {
			return nil
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if waiting, ok := l.waiting[headers.GetString(larkws.HeaderMessageID)]; ok {
			select {
			case waiting <- response:
			default: // answered already
			}
		}
	}
	return nil
}

func (l *link) send(frame larkws.Frame) error {
	message, err := frame.Marshal()
	if err != nil {
		return err
	}
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.socket.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	return l.socket.WriteMessage(websocket.BinaryMessage, message)
}

// ask sends an event and waits for its answer until ctx ends.
func (l *link) ask(ctx context.Context, event []byte) (larkws.Response, error) {
	id, answered := newID(""), make(chan larkws.Response, 1)
	l.mu.Lock()
	l.waiting[id] = answered
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, id)
	}()
	service, _ := strconv.ParseInt(linkService, 10, 32) // a constant
	frame := larkws.Frame{Method: int32(larkws.FrameTypeData), Service: int32(service), Payload: event, Headers: []larkws.Header{
		{Key: larkws.HeaderType, Value: string(larkws.MessageTypeEvent)}, {Key: larkws.HeaderMessageID, Value: id},
		{Key: larkws.HeaderSum, Value: "1"}, {Key: larkws.HeaderSeq, Value: "0"}, {Key: larkws.HeaderTraceID, Value: newID("")},
		{Key: larkws.HeaderTimestamp, Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
	}}
	if err := l.send(frame); err != nil {
		return larkws.Response{}, err
	}
	select {
	case response := <-answered:
		return response, nil
	case <-ctx.Done():
		return larkws.Response{}, ctx.Err()
	}
}
