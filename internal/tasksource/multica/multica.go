// Package multica reads tasks from Multica, a board of issues for agents: over HTTP
// where its address and a token are given, else by its command line.
// https://github.com/multica-ai/multica
//
// It promises: an answer is whole or an error; every page was read, and what is not
// what Multica says is an error, never an answer with fewer tasks. An issue whose
// status is not known makes the tasks of its assignee unknown, is never done, and
// nothing that waits for it may begin. Every question names the workspace.
package multica

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
)

// Name is the source's name.
const Name = "multica"

// Bounds of one answer; more is an error.
const (
	maxBody   = 16 << 20 // of one question
	maxIssues = 20_000
	maxRuns   = 10_000
	// maxFollowed is how many runs that are under way are followed by their messages.
	maxFollowed = 100
)

// Options is one workspace of one Multica.
type Options struct {
	URL       string // of the server
	Token     redact.Secret
	Workspace string // its id
	CLI       string // the program, by path or by name
}

// OverHTTP reports whether the server is asked itself.
func (o Options) OverHTTP() bool { return o.URL != "" && o.Token.IsSet() }

// ErrNoWorkspace says that nobody said which workspace is meant.
var ErrNoWorkspace = errors.New("expected the id of a workspace in sources.multica.workspace")

// Source reads one workspace again and again. Make it with [New].
type Source struct {
	options Options
	cli     *command.Runner
	heard   map[string]heard // by run; of those under way when last read
}

// heard is the newest message of a run.
type heard struct {
	seq int
	at  string
}

// New returns a source; cli is used where the server is not asked itself.
func New(o Options, cli *command.Runner) *Source {
	return &Source{options: o, cli: cli, heard: map[string]heard{}}
}

// Read returns the issues of everybody in the workspace; an assignee is known by
// id, and an agent by its name as well. It is not to be called while it runs.
func (s *Source) Read(ctx context.Context) (tasksource.Board, error) {
	if s.options.Workspace == "" {
		return tasksource.Board{}, ErrNoWorkspace
	}
	issues, err := s.issues(ctx)
	if err != nil {
		return tasksource.Board{}, err
	}
	agents, err := s.agents(ctx)
	if err != nil {
		return tasksource.Board{}, err
	}
	var runs map[string]run
	if s.options.OverHTTP() {
		if runs, err = s.runs(ctx); err != nil {
			return tasksource.Board{}, err
		}
	}
	return boardOf(issues, agents, runs)
}

// page is a part of the issues. HasMore is of the command line, Total of both.
type page struct {
	Issues  *[]issue `json:"issues"`
	Total   int      `json:"total"`
	HasMore *bool    `json:"has_more"`
}

// pageSize is how many issues are asked for at once; a server may give fewer.
const pageSize = 50

// issues reads page after page, until the source says that there is no more. An
// issue that moved to a later page meanwhile counts once, as it was told last.
func (s *Source) issues(ctx context.Context) ([]issue, error) {
	var all []issue
	at := map[string]int{}
	for offset := 0; ; {
		var p page
		if err := s.ask(ctx, issueList(offset), &p); err != nil {
			return nil, err
		}
		if p.Issues == nil {
			return nil, fmt.Errorf(`%s: expected {"issues": [...]}`, issueList(offset))
		}
		for i, one := range *p.Issues {
			if one.ID == "" || len(one.ID) > tasksource.MaxID || len(one.Identifier) > tasksource.MaxID {
				return nil, fmt.Errorf("%s: issues[%d].id: expected the issue's id, of at most %d bytes", s.name(issueList(offset)), i, tasksource.MaxID)
			}
			if first, twice := at[one.ID]; twice {
				all[first] = one
				continue
			}
			at[one.ID] = len(all)
			all = append(all, one)
		}
		offset += len(*p.Issues)
		switch {
		case len(all) > maxIssues:
			return nil, fmt.Errorf("%s: more than %d issues", s.name(issueList(offset)), maxIssues)
		case !p.ends(offset):
		case len(all) < p.Total:
			return nil, fmt.Errorf("%s: expected %d issues, got %d: the list changed while it was read", s.name(issueList(offset)), p.Total, len(all))
		default:
			return all, nil
		}
	}
}

// ends reports whether nothing comes behind the page; read is how many issues were
// read with it. A total that counts the page alone, as early servers gave it, says
// nothing while pages are full.
func (p page) ends(read int) bool {
	switch {
	case len(*p.Issues) == 0:
		return true
	case p.HasMore != nil:
		return !*p.HasMore
	}
	return read >= p.Total && len(*p.Issues) < pageSize
}

// agent is what is used of an agent.
type agent struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (s *Source) agents(ctx context.Context) ([]agent, error) {
	var list listOf[agent]
	if err := s.ask(ctx, agentList(), &list); err != nil {
		return nil, err
	}
	for i, a := range list.items {
		if a.ID == "" {
			return nil, fmt.Errorf("%s: [%d].id: expected the agent's id", s.name(agentList()), i)
		}
	}
	return list.items, nil
}

// run is what is used of a run, Multica's task. Progress is when it last got
// anywhere, as far as its messages tell.
type run struct {
	ID        string `json:"id"`
	IssueID   string `json:"issue_id"`
	Status    string `json:"status"`
	StartedAt string `json:"started_at"`
	progress  string
}

// running is the status of a run that works.
const running = "running"

// runs returns the run that works on each issue.
func (s *Source) runs(ctx context.Context) (map[string]run, error) {
	var list listOf[run]
	if err := s.ask(ctx, snapshot(), &list); err != nil {
		return nil, err
	}
	if len(list.items) > maxRuns {
		return nil, fmt.Errorf("%s: more than %d runs", s.name(snapshot()), maxRuns)
	}
	out, followed := map[string]run{}, map[string]heard{}
	for _, r := range list.items {
		if r.Status != running || r.IssueID == "" {
			continue
		}
		if r.ID != "" && len(followed) < maxFollowed {
			news, err := s.listen(ctx, r.ID)
			if err != nil {
				return nil, err
			}
			followed[r.ID], r.progress = news, news.at
		}
		out[r.IssueID] = r
	}
	s.heard = followed
	return out, nil
}

// listen returns the newest message of a run. Only messages that were not heard yet
// are asked for. A server that does not tell them to this token has none.
func (s *Source) listen(ctx context.Context, id string) (heard, error) {
	var list listOf[struct {
		Seq       int    `json:"seq"`
		CreatedAt string `json:"created_at"`
	}]
	newest := s.heard[id]
	err := s.ask(ctx, messages(id, newest.seq), &list)
	if refused := (*StatusError)(nil); errors.As(err, &refused) && refused.Withheld() {
		return newest, nil
	}
	if err != nil {
		return heard{}, err
	}
	for _, m := range list.items {
		if m.Seq > newest.seq && m.CreatedAt != "" {
			newest = heard{m.Seq, m.CreatedAt}
		}
	}
	return newest, nil
}
