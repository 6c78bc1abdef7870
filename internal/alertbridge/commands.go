package alertbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/webhook"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

const programName = "alertbridge"

// Program is the command line.
func Program() program.Program {
	return program.Program{
		Name: programName, Summary: "Shows Alertmanager's alerts as living cards in Feishu.",
		New: func(env program.Env) (lifecycle.App, error) {
			file, err := env.RequireConfig(programName)
			if err != nil {
				return nil, err
			}
			return New(context.Background(), Options{ConfigFile: file, Log: env.Log})
		},
		Check:     checkConfig,
		HealthURL: healthURL,
		Commands: []program.Command{
			{Name: "render", Args: "-f FILE", Summary: "Print the cards that a webhook payload makes, offline.", Example: "alertbridge render -f payload.json", Setup: renderCommand},
			{Name: "send-test", Args: "RECEIVER", Summary: "Send a test card to a receiver, on each of its channels.", Example: "alertbridge send-test critical-oncall", Setup: sendTestCommand},
			{Name: "doctor", Summary: "Look at credentials, scopes, receivers, Alertmanager and links; say what to do. Sends nothing.", Example: "alertbridge doctor", Setup: doctorCommand},
			{Name: "dead", Args: "list | replay ID", Summary: "List what could not be delivered by the running bridge, or send it again.", Example: "alertbridge dead list", Setup: deadCommand},
		},
	}
}

func load(env program.Env) (*Config, error) {
	file, err := env.RequireConfig(programName)
	if err != nil {
		return nil, err
	}
	return Load(file, env.Log)
}

func healthURL(env program.Env) (string, error) {
	c, err := load(env)
	if err != nil {
		return "", err
	}
	return program.HealthURL(c.Server.Listen), nil
}

func checkConfig(_ context.Context, env program.Env) error {
	c, err := load(env)
	if err != nil {
		return err
	}
	text, err := confload.Masked(c)
	if err != nil {
		return err
	}
	out := &bytes.Buffer{}
	out.Write(text)
	if list := c.unavailable(); len(list) > 0 {
		_, _ = fmt.Fprintln(out, "\n# not available in this way of running:")
		for _, u := range list {
			_, _ = fmt.Fprintf(out, "#   %s: %s\n", u.Key, u.Reason)
		}
	}
	renderer, err := c.renderer()
	if err != nil {
		return err
	}
	for _, remark := range c.templateRemarks(renderer) {
		_, _ = fmt.Fprintf(out, "\n# templates: %s\n", remark)
	}
	if names := c.unconfigured(); len(names) > 0 {
		_, _ = fmt.Fprintf(out, "\n# without credentials, their alerts become dead letters: %s\n", strings.Join(names, ", "))
	}
	_, err = env.Stdout.Write(out.Bytes())
	return err
}

func renderCommand(flags *flag.FlagSet) program.Run {
	file := flags.String("f", "", "the webhook `FILE`, as Alertmanager posts it; - reads standard input")
	return func(_ context.Context, env program.Env) error {
		var body []byte
		var err error
		switch *file {
		case "":
			return program.Usagef("give -f FILE, or -f - for standard input")
		case "-":
			body, err = io.ReadAll(env.Stdin)
		default:
			body, err = os.ReadFile(*file)
		}
		if err != nil {
			return fmt.Errorf("reading the payload: %w", err)
		}
		c := DefaultConfig()
		if env.ConfigFile != "" {
			if c, err = Load(env.ConfigFile, env.Log); err != nil {
				return err
			}
		}
		return renderPayload(c, body, env.Stdout)
	}
}

// rendered is one card of the render command.
type rendered struct {
	Receiver string          `json:"receiver"`
	Card     json.RawMessage `json:"card"`
}

// renderPayload prints what each receiver would be shown if nothing had been
// shown before. Without receivers, it is one card for nobody.
func renderPayload(c *Config, body []byte, out io.Writer) error {
	now := time.Now().UTC()
	group, notice, err := webhook.Decode(body, now)
	if err != nil {
		return err
	}
	renderer, err := c.renderer()
	if err != nil {
		return err
	}
	failed := map[string]error{}
	renderer = renderer.Reporting(func(name string, err error) {
		if err != nil {
			failed[name] = err
		}
	})
	table, problems := c.table()
	if len(problems) > 0 {
		return fmt.Errorf("%s: %s", problems[0].Path, problems[0].Message)
	}
	told := map[string][]card.Alert{}
	var order []string
	for _, a := range notice.Alerts {
		names := table.Receivers(a.Labels, now)
		if len(c.Receivers) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
			told[name] = append(told[name], a)
		}
	}
	cards := []rendered{}
	for _, name := range order {
		n := notice
		n.Alerts = told[name]
		shown := card.Open(name, group, n, nil)
		shown.ID = "offline"
		shown.Judge(card.Snapshot{Began: now.Add(time.Second)})
		content, err := renderer.Card(render.Request{Card: shown, Now: now, Budget: render.AppBudget, First: true})
		if err != nil {
			return err
		}
		cards = append(cards, rendered{name, content})
	}
	if err := printJSON(out, cards); err != nil {
		return err
	}
	return templatesFailed(failed)
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func sendTestCommand(*flag.FlagSet) program.Run {
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 1 {
			return program.Usagef("expected one RECEIVER, e.g. alertbridge send-test critical-oncall")
		}
		c, err := load(env)
		if err != nil {
			return err
		}
		built, err := assemble(c, env.Log)
		if err != nil {
			return err
		}
		tried, err := built.deliver.Test(ctx, env.Args[0])
		if err != nil {
			return program.Usagef("%w: %q; the configuration has %s", err, env.Args[0], strings.Join(built.deliver.Names(), ", "))
		}
		if len(tried) == 0 {
			return fmt.Errorf("receiver %q has no credentials: set its app.receive_id with feishu.app_id and feishu.app_secret, or its webhook.url", env.Args[0])
		}
		failed := 0
		for _, t := range tried {
			result := "ok"
			if !t.OK {
				result, failed = t.Error, failed+1
			}
			_, _ = fmt.Fprintf(env.Stdout, "%s: %s\n", store.Lane(env.Args[0], t.Channel), result)
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d channels failed", failed, len(tried))
		}
		return nil
	}
}

func deadCommand(flags *flag.FlagSet) program.Run {
	asJSON := flags.Bool("json", false, "print JSON")
	all := flags.Bool("all", false, "list replayed ones as well")
	return func(ctx context.Context, env program.Env) error {
		c, err := load(env)
		if err != nil {
			return err
		}
		switch {
		case len(env.Args) == 1 && env.Args[0] == "list":
			return deadList(ctx, env, c, *all, *asJSON)
		case len(env.Args) == 2 && env.Args[0] == "replay":
			if _, err := ask(ctx, c, http.MethodPost, "/api/dead/"+env.Args[1]+"/replay"); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(env.Stdout, "due again")
			return nil
		}
		return program.Usagef("expected list, or replay ID")
	}
}

func deadList(ctx context.Context, env program.Env, c *Config, all, asJSON bool) error {
	path := "/api/dead"
	if all {
		path += "?all=true"
	}
	body, err := ask(ctx, c, http.MethodGet, path)
	if err != nil {
		return err
	}
	if asJSON {
		_, err := env.Stdout.Write(body)
		return err
	}
	var answer struct {
		Dead []store.DeadLetter `json:"dead"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("reading the bridge's answer: %w", err)
	}
	if len(answer.Dead) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "no dead letters")
		return err
	}
	table := tabwriter.NewWriter(env.Stdout, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tWHEN\tRECEIVER\tCHANNEL\tREASON\tTITLE")
	for _, d := range answer.Dead {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.CreatedAt.In(c.location()).Format("2006-01-02 15:04:05"), d.Receiver, d.Channel, d.Reason, d.Title)
	}
	return table.Flush()
}

// askTimeout bounds a question to the running bridge.
const askTimeout = 30 * time.Second

// ask asks the running bridge as an operator.
func ask(ctx context.Context, c *Config, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	url := strings.TrimSuffix(program.HealthURL(c.Server.Listen), "/health") + path
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the bridge: %w", err)
	}
	if c.Server.AdminToken.IsSet() {
		request.Header.Set("Authorization", "Bearer "+c.Server.AdminToken.Reveal())
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the bridge, is it running?: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the bridge's answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	var e struct {
		Error struct{ Message string } `json:"error"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Error.Message == "" {
		return nil, fmt.Errorf("the bridge answered %s", response.Status)
	}
	return nil, errors.New(e.Error.Message)
}

// quiet is a log for parts that a command uses.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
