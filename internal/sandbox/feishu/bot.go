package feishu

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Documented limits of custom bots.
const (
	maxBotBytes = 20 << 10
	signLife    = time.Hour
)

// botMessage is the body of a custom bot's request.
type botMessage struct {
	Timestamp json.RawMessage `json:"timestamp"` // text or number
	Sign      string          `json:"sign"`
	MsgType   string          `json:"msg_type"`
	Card      json.RawMessage `json:"card"`
	Content   struct {
		Text string `json:"text"`
	} `json:"content"`
}

// bot answers POST bot/v2/hook/:token. Refusals come with HTTP 200, except 9499.
func (s *Server) bot(c *call) answer {
	token := c.vars["token"]
	settings, known := s.opts.Bots[token]
	if !known && s.opts.KnownBotsOnly {
		return answer{code: 19001, msg: "param invalid: incoming webhook access token invalid"}
	}
	if len(c.body) > maxBotBytes {
		return answer{code: 19036, msg: "param invalid: the request body is too long"}
	}
	var in botMessage
	if !c.decode(&in) {
		return answer{status: 400, code: 9499, msg: "Bad Request"}
	}
	if settings.Secret != "" && !signed(in, settings.Secret, s.now()) {
		return answer{code: 19021, msg: "sign match fail or timestamp is not within one hour from current time"}
	}
	first, refused := s.botRevision(in)
	if refused.code != 0 {
		return refused
	}
	if !strings.Contains(first.Title+"\n"+first.Text, settings.Keyword) {
		return answer{code: 19024, msg: "Key Words Not Found"}
	}
	if _, ok := s.limiter.allow("bot:"+token, s.now(), s.opts.Limits.bot()...); !ok {
		return answer{code: 11232, msg: "create message service trigger rate limit"}
	}
	chat := s.store.ensureChat(Chat{ID: BotChat(token), Name: settings.Name, Kind: KindBot})
	added, _ := s.store.add(Message{Chat: chat.ID, Kind: KindBot}, first)
	c.rec.Chat, c.rec.MessageID = chat.ID, added.ID
	return answer{data: map[string]any{}, extra: map[string]any{"StatusCode": 0, "StatusMessage": "success"}}
}

func (s *Server) botRevision(in botMessage) (Revision, answer) {
	switch in.MsgType {
	case "interactive":
		if err := s.checker.Check(in.Card); err != nil {
			return Revision{}, answer{code: 11246, msg: "Failed to create card content, ext=" + err.Error()}
		}
		return s.cardRevision(string(in.Card)), answer{}
	case "text":
		if in.Content.Text == "" {
			return Revision{}, answer{code: 19002, msg: "params error, text content is empty"}
		}
		return Revision{At: s.now(), Type: "text", Content: in.Content.Text, Text: in.Content.Text}, answer{}
	}
	return Revision{}, answer{code: 19002, msg: "params error, msg_type need"}
}

// Sign returns the signature of a custom bot's request: HMAC-SHA256 over nothing,
// keyed by timestamp and secret.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
func Sign(timestamp int64, secret string) string {
	mac := hmac.New(sha256.New, []byte(strconv.FormatInt(timestamp, 10)+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func signed(in botMessage, secret string, now time.Time) bool {
	timestamp, err := strconv.ParseInt(strings.Trim(string(in.Timestamp), `"`), 10, 64)
	if err != nil || now.Sub(time.Unix(timestamp, 0)).Abs() > signLife {
		return false
	}
	return hmac.Equal([]byte(Sign(timestamp, secret)), []byte(in.Sign))
}
