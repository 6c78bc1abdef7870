package feishu

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// list answers GET im/v1/messages: the history of one chat. A card comes back the
// way Feishu gives it out, as title and text, not as the JSON that was sent.
func (s *Server) list(c *call) answer {
	q := c.r.URL.Query()
	if q.Get("container_id_type") != "chat" {
		return invalidParam("container_id_type must be chat")
	}
	chat := q.Get("container_id")
	c.rec.Chat = chat
	if !s.store.hasChat(chat) || strings.HasPrefix(chat, "bot_") {
		return answer{status: 400, code: 230002, msg: "The bot can not be outside the group."}
	}
	if s.store.isGroup(chat) && !s.Tenant().has(groupScope) {
		return answer{status: 400, code: 230027, msg: "Lack of necessary permissions, ext=need scope: " + groupScope}
	}
	from, to, ok := timeRange(q.Get("start_time"), q.Get("end_time"))
	if !ok {
		return invalidParam("start_time and end_time are seconds")
	}
	size, offset := 20, 0
	if text := q.Get("page_size"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 50 {
			return invalidParam("page_size must be 1 to 50")
		}
		size = n
	}
	if text := q.Get("page_token"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return invalidParam("page_token is not known")
		}
		offset = n
	}
	found := s.history(chat, from, to)
	if q.Get("sort_type") == "ByCreateTimeDesc" {
		slices.Reverse(found)
	}
	return page(found, offset, size)
}

func (s *Server) history(chat string, from, to time.Time) []Message {
	var found []Message
	for _, m := range s.Snapshot().Messages {
		second := m.Created().Truncate(time.Second)
		if m.Chat == chat && !second.Before(from) && (to.IsZero() || !second.After(to)) {
			found = append(found, m)
		}
	}
	return found
}

func page(found []Message, offset, size int) answer {
	offset = min(offset, len(found))
	end := min(offset+size, len(found))
	items := make([]any, 0, end-offset)
	for _, m := range found[offset:end] {
		items = append(items, messageData(m, outline(m.Now())))
	}
	data := map[string]any{"items": items, "has_more": end < len(found)}
	if end < len(found) {
		data["page_token"] = strconv.Itoa(end)
	}
	return answer{data: data}
}

// outline is the plain form of a card in the history.
func outline(r Revision) string {
	type span struct {
		Tag  string `json:"tag"`
		Text string `json:"text"`
	}
	out := struct {
		Title    string   `json:"title"`
		Elements [][]span `json:"elements"`
	}{Title: r.Title, Elements: [][]span{}}
	for line := range strings.SplitSeq(r.Text, "\n") {
		out.Elements = append(out.Elements, []span{{Tag: "text", Text: line}})
	}
	raw, _ := json.Marshal(out) // strings only: always encodes
	return string(raw)
}

// timeRange reads unix seconds; empty is open.
func timeRange(start, end string) (from, to time.Time, ok bool) {
	for _, bound := range []struct {
		text string
		into *time.Time
	}{{start, &from}, {end, &to}} {
		if bound.text == "" {
			continue
		}
		seconds, err := strconv.ParseInt(bound.text, 10, 64)
		if err != nil {
			return from, to, false
		}
		*bound.into = time.Unix(seconds, 0)
	}
	return from, to, true
}
