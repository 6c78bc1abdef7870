// Package workboard reads tasks from WorkBoard, the cards of OpenClaw's bundled
// plugin, by `openclaw workboard list --json`.
// https://docs.openclaw.ai/cli/workboard
//
// It promises: an answer is whole or an error. Output that is not the whole list is
// an error; a card whose status is not known makes the tasks of its agent unknown,
// is never done, and nothing that waits for it may begin.
package workboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
)

// Name is the source's name.
const Name = "workboard"

// Bounds of one answer; more is an error.
const (
	maxOutput = 8 << 20
	maxCards  = 10_000
)

// Options is one WorkBoard.
type Options struct {
	CLI   string        // OpenClaw's program, by path or by name
	Home  string        // OpenClaw's folder; "" = where the program looks itself
	Token redact.Secret // of OpenClaw's gateway; empty = as the program has it
}

// passed are the variables of OpenClaw's own that its program gets.
var passed = []string{"OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD", "OPENCLAW_GATEWAY_PORT", "NODE_EXTRA_CA_CERTS"}

// Read returns the cards of all agents; an assignee is the id of an agent in
// OpenClaw. It takes as long as the program, several seconds.
func Read(ctx context.Context, cli *command.Runner, o Options) (tasksource.Board, error) {
	call := command.Call{
		Program: o.CLI, Args: []string{"workboard", "list", "--json"}, Pass: passed, Limit: maxOutput,
		Secrets: []redact.Secret{o.Token},
	}
	if o.Home != "" {
		call.Env = append(call.Env, "OPENCLAW_STATE_DIR="+o.Home)
	}
	if o.Token.IsSet() {
		call.Env = append(call.Env, "OPENCLAW_GATEWAY_TOKEN="+o.Token.Reveal())
	}
	out, err := cli.Output(ctx, call)
	if err != nil {
		return tasksource.Board{}, err
	}
	board, err := Parse(out)
	if err != nil {
		return tasksource.Board{}, fmt.Errorf("%s: %w; it printed %s", call, err, command.Beginning(out, call.Secrets))
	}
	return board, nil
}

// card is what is used of a card. Times are milliseconds since 1970; 0 = none.
type card struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Status    string `json:"status"`
	Priority  string `json:"priority"`
	AgentID   string `json:"agentId"`
	UpdatedAt int64  `json:"updatedAt"`
	StartedAt int64  `json:"startedAt"`
	Execution struct {
		UpdatedAt int64 `json:"updatedAt"`
	} `json:"execution"`
	Metadata struct {
		ArchivedAt int64 `json:"archivedAt"`
		Claim      struct {
			OwnerID         string `json:"ownerId"`
			LastHeartbeatAt int64  `json:"lastHeartbeatAt"`
		} `json:"claim"`
		Links []struct {
			Type         string `json:"type"`
			TargetCardID string `json:"targetCardId"`
		} `json:"links"`
	} `json:"metadata"`
}

// Parse reads what the program printed.
func Parse(out []byte) (tasksource.Board, error) {
	var list struct {
		Cards *[]card `json:"cards"`
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	if err := decoder.Decode(&list); err != nil {
		return tasksource.Board{}, fmt.Errorf("expected JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return tasksource.Board{}, errors.New("expected one JSON document, found more behind it")
	}
	switch {
	case list.Cards == nil:
		return tasksource.Board{}, errors.New(`expected {"cards": [...]}`)
	case len(*list.Cards) > maxCards:
		return tasksource.Board{}, fmt.Errorf("more than %d cards", maxCards)
	}
	return boardOf(*list.Cards)
}

func boardOf(cards []card) (tasksource.Board, error) {
	var board tasksource.Board
	seen, waits := map[string]bool{}, map[string][]string{}
	for i, c := range cards {
		switch {
		case c.ID == "" || len(c.ID) > tasksource.MaxID:
			return tasksource.Board{}, fmt.Errorf("cards[%d].id: expected the card's id, of at most %d bytes", i, tasksource.MaxID)
		case seen[c.ID]:
			return tasksource.Board{}, fmt.Errorf("cards[%d].id: %q is the id of an earlier card", i, c.ID)
		}
		seen[c.ID] = true
		if err := c.addWaits(waits); err != nil {
			return tasksource.Board{}, fmt.Errorf("cards[%d].%w", i, err)
		}
		place, known := placeOf(c.Status)
		switch {
		case c.Metadata.ArchivedAt > 0 && place.state != tasksource.Done:
			// Put away unfinished: no work, and still not done.
		case !known:
			board.AddFault(c.assignee(), fmt.Errorf("card %s: status: expected one of %s, got %.40q", c.ID, statuses, c.Status))
		default:
			board.Tasks = append(board.Tasks, c.task(place))
		}
	}
	for i := range board.Tasks {
		board.Tasks[i].DependsOn = waits[board.Tasks[i].ID]
	}
	board.Index()
	return board, nil
}

// addWaits notes which cards wait for which, as the card's links tell: a card waits
// for its parent and for what blocks it. Either of the two may hold the link.
func (c card) addWaits(waits map[string][]string) error {
	for i, link := range c.Metadata.Links {
		switch to := link.TargetCardID; {
		case to == "": // leads elsewhere
		case len(to) > tasksource.MaxID:
			return fmt.Errorf("metadata.links[%d].targetCardId: expected an id of at most %d bytes", i, tasksource.MaxID)
		case link.Type == "parent", link.Type == "blocked_by":
			waits[c.ID] = append(waits[c.ID], to)
		case link.Type == "child", link.Type == "blocks":
			waits[to] = append(waits[to], c.ID)
		}
	}
	return nil
}

// assignee is the agent that the card is given to, else the one that took it.
func (c card) assignee() string {
	if c.AgentID != "" {
		return c.AgentID
	}
	return c.Metadata.Claim.OwnerID
}

// place is where a card stands.
type place struct {
	state  tasksource.State
	parked bool
}

const statuses = "triage, backlog, todo, scheduled, ready, running, review, blocked, done"

func placeOf(status string) (place, bool) {
	switch status {
	case "triage", "backlog", "scheduled":
		return place{tasksource.Todo, true}, true
	case "todo", "ready":
		return place{tasksource.Todo, false}, true
	case "running":
		return place{tasksource.InProgress, false}, true
	case "review":
		return place{tasksource.Review, false}, true
	case "blocked":
		return place{tasksource.Blocked, false}, true
	case "done":
		return place{tasksource.Done, false}, true
	}
	return place{}, false
}

func (c card) task(p place) tasksource.Task {
	progress := max(c.UpdatedAt, c.Execution.UpdatedAt, c.Metadata.Claim.LastHeartbeatAt)
	return tasksource.Task{
		Source: Name, ID: c.ID, Title: tasksource.Title(c.Title, c.ID), State: p.state, Parked: p.parked, Assignee: c.assignee(),
		Priority: priorityOf(c.Priority), Mark: fmt.Sprintf("%s %d", c.Status, progress),
		Touched: moment(progress), StartedAt: moment(c.StartedAt),
	}
}

// priorityOf returns normal for a priority that is not known: it orders work and
// decides nothing else.
func priorityOf(text string) tasksource.Priority {
	priority, _ := tasksource.PriorityOf(text)
	return priority
}

func moment(milliseconds int64) time.Time {
	if milliseconds <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds).UTC()
}
