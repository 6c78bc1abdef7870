package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/user"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/clientstore"
	"github.com/fleetwatch/fleetwatch/internal/gateway/schema"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const commandTimeout = 10 * time.Second

// clientCommand makes a client and prints its key: by the gateway that runs, or in its
// store where none does.
func clientCommand(set *flag.FlagSet) program.Run {
	rpm := set.Int("rpm", 0, "requests a minute; 0 = no limit")
	tpm := set.Int("tpm", 0, "tokens a minute; 0 = no limit")
	daily := set.Float64("daily-budget", 0, "units of the currency; 0 = no limit")
	monthly := set.Float64("monthly-budget", 0, "units of the currency; 0 = no limit")
	models := set.String("models", "", "models that it may use, by commas; default: all")
	expires := set.String("expires", "", "a date or a time at which the key ends; default: never")
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 2 || env.Args[0] != "create" {
			return program.Usagef("expected create NAME, e.g. gateway client create opengineer --daily-budget 5")
		}
		c, err := load(env)
		if err != nil {
			return err
		}
		body := map[string]any{"name": env.Args[1], "rpm": *rpm, "tpm": *tpm, "daily_budget": *daily, "monthly_budget": *monthly, "expires": *expires}
		if *models != "" {
			body["models"] = strings.Split(*models, ",")
		}
		key, err := createClient(ctx, c, body)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(env.Stdout, key)
		return err
	}
}

// createClient returns the key of the new client.
func createClient(ctx context.Context, c *Config, body map[string]any) (key string, err error) {
	path, err := c.Store.URL.Path()
	if err != nil {
		return "", err
	}
	unlock, err := sqlstore.Lock(path)
	if errors.Is(err, sqlstore.ErrServed) {
		return askForClient(ctx, c, body)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = unlock() }() // the process ends
	raw, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	name, settings, err := admin.ReadClient(raw)
	if err != nil {
		return "", err
	}
	if (&assembly{config: c}).declares(name) {
		return "", admin.ErrDeclared
	}
	migrations, err := schema.Migrations()
	if err != nil {
		return "", err
	}
	db, err := sqlstore.Open(ctx, sqlstore.Options{URL: c.Store.URL, Migrations: migrations})
	if err != nil {
		return "", err
	}
	made, sum := clientstore.NewKey()
	now := stamp(time.Now())
	err = clientstore.Insert(ctx, db, clientstore.Client{Name: name, Sum: sum, Settings: settings, CreatedAt: now, UpdatedAt: now},
		audit.Entry{At: now, Actor: "command line: " + userName(), Action: audit.CreateClient, Target: name, Detail: string(raw)})
	return made.Reveal(), errors.Join(err, db.Close())
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown user"
}

// askForClient has the running gateway make the client, so that its key works at once.
func askForClient(ctx context.Context, c *Config, body map[string]any) (key string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	url := strings.TrimSuffix(program.HealthURL(c.Admin.Listen), "/health") + "/api/admin/clients"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+c.Admin.Token.Reveal())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("a gateway serves the store but does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("reading the gateway's answer: %w", err)
	}
	var made struct {
		Key   string                   `json:"key"`
		Error struct{ Message string } `json:"error"`
	}
	if err := json.Unmarshal(answer, &made); err != nil || response.StatusCode != http.StatusCreated || made.Key == "" {
		return "", fmt.Errorf("the gateway answered %d: %s", response.StatusCode, made.Error.Message)
	}
	return made.Key, nil
}
