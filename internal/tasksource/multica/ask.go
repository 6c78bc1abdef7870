package multica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
)

// question is one thing to ask, in both ways. One without args is asked over HTTP
// only.
type question struct {
	path string
	args []string
}

// name is how errors name a question: as a person would ask it.
func (s *Source) name(q question) string {
	if s.options.OverHTTP() {
		return q.path
	}
	return s.call(q).String()
}

func issueList(offset int) question {
	limit, from := strconv.Itoa(pageSize), strconv.Itoa(offset)
	return question{
		path: "/api/issues?" + url.Values{"limit": {limit}, "offset": {from}}.Encode(),
		args: []string{"issue", "list", "--output", "json", "--limit", limit, "--offset", from},
	}
}

func agentList() question {
	return question{path: "/api/agents", args: []string{"agent", "list", "--output", "json"}}
}

func snapshot() question { return question{path: "/api/agent-task-snapshot"} }

func messages(run string, after int) question {
	return question{path: "/api/tasks/" + url.PathEscape(run) + "/messages?since=" + strconv.Itoa(after)}
}

// ask asks and reads the answer into a value.
func (s *Source) ask(ctx context.Context, q question, into any) error {
	out, err := s.output(ctx, q)
	if err != nil {
		return err
	}
	secrets := []redact.Secret{s.options.Token}
	decoder := json.NewDecoder(bytes.NewReader(out))
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: expected JSON: %w; it says: %s", s.name(q), err, command.Beginning(out, secrets))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: expected one JSON document, found more behind it", s.name(q))
	}
	return nil
}

func (s *Source) output(ctx context.Context, q question) ([]byte, error) {
	if s.options.OverHTTP() {
		out, err := s.get(ctx, q)
		return out, redact.Error(err, s.options.Token)
	}
	return s.cli.Output(ctx, s.call(q))
}

// passed are the variables of Multica's own that its program gets.
var passed = []string{"MULTICA_SERVER_URL", "MULTICA_TOKEN"}

func (s *Source) call(q question) command.Call {
	o := s.options
	call := command.Call{
		Program: o.CLI, Args: slices.Concat(q.args, []string{"--workspace-id", o.Workspace}), Pass: passed,
		Limit: maxBody, Secrets: []redact.Secret{o.Token},
	}
	if o.URL != "" {
		call.Env = append(call.Env, "MULTICA_SERVER_URL="+o.URL)
	}
	if o.Token.IsSet() {
		call.Env = append(call.Env, "MULTICA_TOKEN="+o.Token.Reveal())
	}
	return call
}

// StatusError is an answer other than 200.
type StatusError struct {
	Path   string
	Status int
	Text   string // the first of the answer
}

func (e *StatusError) Error() string {
	hint := ""
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = "; expected a token in sources.multica.token that may read the workspace"
	case http.StatusNotFound:
		hint = "; expected a Multica server in sources.multica.url, and the id of a workspace in sources.multica.workspace"
	}
	return fmt.Sprintf("%s: answered %d%s; it says: %s", e.Path, e.Status, hint, e.Text)
}

// Withheld reports whether there is such a thing, but not for this token or in this
// version.
func (e *StatusError) Withheld() bool {
	return e.Status == http.StatusForbidden || e.Status == http.StatusNotFound
}

func (s *Source) get(ctx context.Context, q question) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.options.URL, "/")+q.path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.path, err)
	}
	request.Header.Set("Authorization", "Bearer "+s.options.Token.Reveal())
	request.Header.Set("X-Workspace-ID", s.options.Workspace)
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.path, err)
	}
	defer func() { _ = response.Body.Close() }() // only read from
	out, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: reading the answer: %w", q.path, err)
	case response.StatusCode != http.StatusOK:
		return nil, &StatusError{Path: q.path, Status: response.StatusCode, Text: command.Beginning(out, []redact.Secret{s.options.Token})}
	case len(out) > maxBody:
		return nil, fmt.Errorf("%s: the answer is larger than %d MiB", q.path, maxBody>>20)
	}
	return out, nil
}

// listOf reads a list that stands alone or as the one list in an object, which
// versions and ways differ in.
type listOf[T any] struct{ items []T }

// UnmarshalJSON implements [json.Unmarshaler].
func (l *listOf[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, &l.items)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return errors.New("expected a list")
	}
	found := 0
	for _, value := range object {
		if bytes.HasPrefix(value, []byte("[")) {
			found++
			if err := json.Unmarshal(value, &l.items); err != nil {
				return err
			}
		}
	}
	if found != 1 {
		return errors.New("expected a list")
	}
	return nil
}
