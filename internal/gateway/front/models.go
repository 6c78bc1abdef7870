package front

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

type modelList struct {
	Object string  `json:"object"`
	Data   []model `json:"data"`
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
	entry := func(id string) model { return model{id, "model", x.plan.Since.Unix(), "fleetwatch"} }
	if name != "" {
		if !slices.Contains(names, name) {
			x.tell(unknownModel(name))
			return
		}
		x.answer(http.StatusOK, encoded(entry(name)))
		return
	}
	list := modelList{Object: "list", Data: []model{}}
	for _, n := range names {
		list.Data = append(list.Data, entry(n))
	}
	x.answer(http.StatusOK, encoded(list))
}

func encoded(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("front: marshalling an answer: %v", err)) // plain structs
	}
	return body
}
