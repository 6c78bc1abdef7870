package provider

import (
	"net/http"
	"slices"

	"github.com/gorilla/mux"
)

// modelsPath lists what is offered; it is asked for free.
const modelsPath = "/v1/models"

// models lists the models, or shows one, in the form of the dialect that asks. It is
// not in the journal.
func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	asked := request{backend: mux.Vars(r)["backend"], Model: mux.Vars(r)["model"]}
	d := openai
	if r.Header.Get("Anthropic-Version") != "" {
		d = anthropic
	}
	if s.served[asked.backend] == nil {
		s.refuse(w, d, refusal{status: http.StatusNotFound, kind: "invalid_request_error", message: "there is no backend " + asked.backend})
		return
	}
	x := &exchange{Server: s, w: w, r: r, at: endpoint{path: modelsPath, dialect: d, form: newCatalogue}, asked: asked, id: "models-" + asked.backend}
	x.fault = s.faults.take(modelsPath, &asked)
	want, guarded := s.options.Keys[asked.backend]
	switch {
	case guarded && d.presented(r.Header) != want:
		s.refuse(w, d, d.refusals()[Unauthorized])
	case asked.Model != "" && len(s.options.Models) > 0 && !slices.Contains(s.options.Models, asked.Model):
		s.refuse(w, d, *d.noModel(asked.Model))
	default:
		x.serve()
	}
}

// catalogue is the form of a list of models, or of one.
type catalogue struct {
	*exchange
	unstreamed
}

func newCatalogue(x *exchange) form { return catalogue{exchange: x} }

func (c catalogue) whole() map[string]any {
	d, offered := c.at.dialect, c.options.Models
	if c.asked.Model != "" {
		return c.model(c.asked.Model)
	}
	list := []any{}
	for _, m := range offered {
		list = append(list, c.model(m))
	}
	if d == openai {
		return map[string]any{"object": "list", "data": list}
	}
	page := map[string]any{"data": list, "has_more": false, "first_id": nil, "last_id": nil}
	if len(offered) > 0 {
		page["first_id"], page["last_id"] = offered[0], offered[len(offered)-1]
	}
	return page
}

func (c catalogue) model(id string) map[string]any {
	if c.at.dialect == anthropic {
		return map[string]any{"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"}
	}
	return map[string]any{"id": id, "object": "model", "created": 0, "owned_by": c.asked.backend}
}
