package feishu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/larksuite/oapi-sdk-go/v3/event/dispatcher/callback"
	larkws "github.com/larksuite/oapi-sdk-go/v3/ws"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

// answerWithin is how long Feishu waits for an app's answer to a press.
const answerWithin = 3 * time.Second

// Codes that a person is shown where no toast came.
const (
	codeNoAnswer     = 200341 // no answer in time
	codeNoConnection = 200340 // (unverified) nobody to ask
	codeBadAnswer    = 200672 // (unverified) the answer is not understood
)

// refusals words the codes.
func refusals() map[int]string {
	return map[int]string{
		codeNoAnswer:     "200341 应用没有在 3 秒内应答 (no answer within 3 seconds)",
		codeNoConnection: "200340 应用没有长连接 (the app has no long connection)",
		codeBadAnswer:    "200672 应用的应答无法识别 (the app's answer is not understood)",
	}
}

// Press is one press of a button.
type Press struct {
	At       time.Time `json:"at"`
	Message  string    `json:"message_id"`
	Button   string    `json:"button"`   // its label
	Operator string    `json:"operator"` // open id of who pressed
	Event    string    `json:"event_id"`
	Fault    FaultKind `json:"fault,omitempty"`
	Code     int       `json:"code"`            // 0, or why there is no toast of the app's
	Kind     string    `json:"toast,omitempty"` // info, success, warning, error
	Text     string    `json:"text,omitempty"`  // of the toast, or what the code means
}

// keptPresses bounds the log of presses.
const keptPresses = 500

type presses struct {
	running sync.WaitGroup // events that are under way

	mu  sync.Mutex
	all []Press
}

func (p *presses) add(one Press) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) >= keptPresses {
		p.all = slices.Delete(p.all, 0, keptPresses/2)
	}
	p.all = append(p.all, one)
}

// Presses returns the presses of buttons, in order.
func (s *Server) Presses() []Press {
	s.presses.mu.Lock()
	defer s.presses.mu.Unlock()
	return slices.Clone(s.presses.all)
}

// ErrNoButton is returned where a message has no such button that could be
// pressed.
var ErrNoButton = errors.New("the message has no such button")

// Press presses the button of that label as the person with the open id, and
// waits for what the person is shown, at most as long as Feishu waits.
func (s *Server) Press(ctx context.Context, message, button, operator string) (Press, error) {
	m, ok := s.store.get(message)
	if !ok || m.Recalled || m.Now().Type != "interactive" {
		return Press{}, ErrNoButton
	}
	pressed := Press{At: s.now(), Message: message, Button: button, Operator: operator, Event: newID("")}
	fault := s.faults.take(OpEvent, message+"\n"+button+"\n"+operator, s.now())
	pressed.Fault = fault.Kind
	value, err := valueOf(m, button, fault.Kind)
	if err != nil {
		return Press{}, err
	}
	event, err := s.event(m, pressed, value)
	if err != nil {
		return Press{}, err
	}
	s.deliver(ctx, m.App, event, fault, &pressed)
	s.presses.add(pressed)
	s.journal.add(Request{At: pressed.At, Op: OpEvent, Route: "card.action.trigger", Chat: m.Chat, MessageID: m.ID, Fault: fault.Kind, Status: http.StatusOK, Code: pressed.Code})
	s.store.announce()
	return pressed, nil
}

// valueOf is what the button sends: what the card says, or what the fault makes
// of it.
func valueOf(m Message, label string, fault FaultKind) (map[string]any, error) {
	now, err := buttonOf(m.Now(), label)
	if err != nil {
		return nil, err
	}
	if fault == FaultForged {
		return forge(now.Value), nil
	}
	if fault == FaultReplay {
		for _, old := range m.Revisions {
			if b, err := buttonOf(old, label); err == nil && !reflect.DeepEqual(b.Value, now.Value) {
				return b.Value, nil
			}
		}
	}
	return now.Value, nil
}

// forge changes the last character of each text of a value.
func forge(value map[string]any) map[string]any {
	forged := maps.Clone(value)
	for name, v := range forged {
		if text, ok := v.(string); ok && text != "" {
			forged[name] = text[:len(text)-1] + string(text[len(text)-1]^1)
		}
	}
	return forged
}

func buttonOf(r Revision, label string) (card.Element, error) {
	if r.Type != "interactive" {
		return card.Element{}, ErrNoButton
	}
	parsed, err := card.Parse([]byte(r.Content))
	if err != nil {
		return card.Element{}, err
	}
	b, ok := parsed.Button(label)
	if !ok {
		return card.Element{}, fmt.Errorf("%w: %q", ErrNoButton, label)
	}
	return b, nil
}

// event is the press in the form of card.action.trigger.
// https://open.feishu.cn/document/feishu-cards/card-callback-communication
func (s *Server) event(m Message, p Press, value map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{
		"schema": "2.0",
		"header": map[string]string{
			"event_id": p.Event, "token": "", "create_time": strconv.FormatInt(p.At.UnixMicro(), 10),
			"event_type": "card.action.trigger", "tenant_key": "sandbox", "app_id": m.App,
		},
		"event": callback.CardActionTriggerRequest{
			Operator: &callback.Operator{OpenID: p.Operator}, Token: newID("c-"), Host: "im_message",
			Action:  &callback.CallBackAction{Tag: "button", Value: value},
			Context: &callback.Context{OpenMessageID: m.ID, OpenChatID: m.Chat},
		},
	})
}

// deliver brings the event to the app, as the fault wants it, and notes what the
// person is shown.
func (s *Server) deliver(ctx context.Context, app string, event []byte, fault Fault, p *Press) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	switch fault.Kind {
	case FaultDropBefore, FaultOutage:
		s.links.drop()
		p.refuse(codeNoAnswer)
	case FaultHang:
		<-ctx.Done()
		p.refuse(codeNoAnswer)
	case FaultLate:
		s.late(ctx, app, event, time.Duration(max(fault.Reset, 1))*time.Second, p)
	case FaultTwice:
		s.ask(ctx, app, event, p)
		var again Press
		s.ask(ctx, app, event, &again)
	case FaultDropAfter, FaultHangAfter:
		s.ask(ctx, app, event, p)
		s.links.drop()
		p.refuse(codeNoAnswer)
	default:
		s.ask(ctx, app, event, p)
	}
}

// late delivers the event after a while; the person waits no longer than usual.
func (s *Server) late(ctx context.Context, app string, event []byte, after time.Duration, p *Press) {
	answered := make(chan Press, 1)
	s.presses.running.Go(func() {
		wait := time.NewTimer(after)
		defer wait.Stop()
		select {
		case <-s.closing:
			return
		case <-wait.C:
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
		defer cancel()
		var one Press
		s.ask(ctx, app, event, &one)
		answered <- one
	})
	select {
	case one := <-answered:
		p.Code, p.Kind, p.Text = one.Code, one.Kind, one.Text
	case <-ctx.Done():
		p.refuse(codeNoAnswer)
	}
}

// ask sends the event over one of the app's connections and notes the toast.
func (s *Server) ask(ctx context.Context, app string, event []byte, p *Press) {
	one := s.links.pick(app)
	if one == nil {
		p.refuse(codeNoConnection)
		return
	}
	response, err := one.ask(ctx, event)
	if err != nil {
		p.refuse(codeNoAnswer)
		return
	}
	p.show(response)
}

func (p *Press) refuse(code int) { p.Code, p.Kind, p.Text = code, "error", refusals()[code] }

// show takes over the app's answer. A card in the answer is not modelled.
func (p *Press) show(response larkws.Response) {
	var body callback.CardActionTriggerResponse
	kinds := []string{"info", "success", "warning", "error"}
	switch {
	case response.StatusCode != http.StatusOK, json.Unmarshal(response.Data, &body) != nil,
		body.Card != nil, body.Toast != nil && !slices.Contains(kinds, body.Toast.Type):
		p.refuse(codeBadAnswer)
	case body.Toast != nil:
		p.Kind, p.Text = body.Toast.Type, body.Toast.Content
	}
}
