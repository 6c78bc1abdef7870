package front

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

type modelList struct {
	Object string  `json:"object"`
	Data   []model `json:"data"`
}

// The same in the Anthropic dialect: https://docs.anthropic.com/en/api/models-list.
type anthropicList struct {
	Data    []anthropicModel `json:"data"`
	HasMore bool             `json:"has_more"`
	FirstID *string          `json:"first_id"`
	LastID  *string          `json:"last_id"`
}

type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"` // when the gateway came to know it, RFC 3339
}

type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // when the gateway came to know it, in Unix seconds
	OwnedBy string `json:"owned_by"`
}

// models lists the models that the client may use, or one of them.
func (x *exchange) models(name string) {
	x.route = "/v1/models"
	if name != "" {
		x.route = "/v1/models/{id}"
	}
	if !x.known() {
		return
	}
	names := slices.DeleteFunc(x.plan.Table.Models(), func(m string) bool { return !x.client.May(m) })
	if name != "" && !slices.Contains(names, name) {
		x.tell(unknownModel(name))
		return
	}
	if x.r.Header["Anthropic-Version"] != nil {
		x.answer(http.StatusOK, encoded(anthropicForm(names, name, x.plan.Since)))
		return
	}
	x.answer(http.StatusOK, encoded(openaiForm(names, name, x.plan.Since)))
}

// openaiForm is the list of models, or the one of them that is named.
func openaiForm(names []string, name string, since time.Time) any {
	entry := func(id string) model { return model{id, "model", since.Unix(), "fleetwatch"} }
	if name != "" {
		return entry(name)
	}
	list := modelList{Object: "list", Data: []model{}}
	for _, n := range names {
		list.Data = append(list.Data, entry(n))
	}
	return list
}

func anthropicForm(names []string, name string, since time.Time) any {
	entry := func(id string) anthropicModel {
		return anthropicModel{"model", id, id, since.UTC().Format(time.RFC3339)}
	}
	if name != "" {
		return entry(name)
	}
	list := anthropicList{Data: []anthropicModel{}}
	for _, n := range names {
		list.Data = append(list.Data, entry(n))
	}
	if len(names) > 0 {
		list.FirstID, list.LastID = &names[0], &names[len(names)-1]
	}
	return list
}

func encoded(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("front: marshalling an answer: %v", err)) // plain structs
	}
	return body
}
