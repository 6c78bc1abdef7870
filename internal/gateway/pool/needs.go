package pool

import (
	"slices"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

// Needs is what a request needs of a model beside text.
type Needs struct {
	Modalities   []request.Modality
	Reasoning    bool
	Capabilities []string // words of X-Require-Capability, and those forced for the client
	Betas        []string // of anthropic-beta
}

// lacks returns what the candidate lacks to serve the request, for people; "" = nothing.
// A mapping that says nothing of what it reads, or of which betas it takes, takes all.
func (c *Candidate) lacks(ask *Ask) string {
	switch {
	case ask.Backend != "" && c.Name != ask.Backend:
		return "the backend " + ask.Backend
	case !slices.Contains(c.Dialects, ask.Dialect):
		return "the " + string(ask.Dialect) + " dialect"
	case ask.Needs.Reasoning && !c.Model.Reasoning:
		return "reasoning"
	}
	for _, m := range ask.Needs.Modalities {
		if !c.reads(m) {
			return string(m) + " input"
		}
	}
	for _, word := range ask.Needs.Capabilities {
		if !c.can(strings.ToLower(word)) {
			return "capability " + word
		}
	}
	for _, beta := range ask.Needs.Betas {
		if len(c.Model.Betas) > 0 && !slices.Contains(c.Model.Betas, beta) {
			return "anthropic-beta " + beta
		}
	}
	return ""
}

func (c *Candidate) reads(m request.Modality) bool {
	return len(c.Model.InputModalities) == 0 || slices.Contains(c.Model.InputModalities, string(m))
}

// can reports whether the candidate has the capability. A demand is explicit, so that
// only what the mapping names counts.
func (c *Candidate) can(word string) bool {
	switch word {
	case "vision":
		word = string(request.Image)
	case "pdf":
		word = string(request.File)
	case "reasoning", "thinking":
		return c.Model.Reasoning
	}
	return slices.Contains(c.Model.InputModalities, word) || slices.ContainsFunc(c.Model.Capabilities, func(has string) bool { return strings.EqualFold(has, word) })
}
