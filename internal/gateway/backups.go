package gateway

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backup"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// keeper makes the backups of the store at path.
func keeper(path string, current func() *Config, log *slog.Logger, now func() time.Time) *backup.Keeper {
	return &backup.Keeper{
		Settings: func() backup.Settings {
			b := current().Backup
			return backup.Settings{Dir: string(b.Dir), Every: b.Every, Keep: b.Keep}
		},
		Store: path, Log: log, Now: now,
		Check: func(ctx context.Context, file string) error {
			_, err := ledger.Verify(ctx, file)
			return err
		},
	}
}

// backupCommand makes a backup, beside a running gateway or without one.
func backupCommand(set *flag.FlagSet) program.Run {
	to := set.String("to", "", "`FILE` to write, or a folder; default: a file in backup.dir, which is listed and removed when it is old")
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) > 0 {
			return program.Usagef("unexpected %q; gateway backup -h shows an example", env.Args[0])
		}
		c, err := load(env)
		if err != nil {
			return err
		}
		path, err := c.Store.URL.Path()
		if err != nil {
			return err
		}
		k := keeper(path, func() *Config { return c }, env.Log, time.Now)
		made, file, err := makeBackup(ctx, k, *to)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s (%d bytes)\n", file, made.SizeBytes)
		return err
	}
}

// makeBackup makes one in the keeper's folder, or where the caller says, and returns
// its path.
func makeBackup(ctx context.Context, k *backup.Keeper, to string) (made backup.Backup, file string, err error) {
	if to == "" {
		made, err = k.Make(ctx)
		return made, filepath.Join(k.Settings().Dir, made.Name), err
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, backup.NameOf(k.Now()))
	}
	made, err = k.MakeAt(ctx, to)
	return made, to, err
}

// restoreCommand puts a backup in the place of the store. The gateway must not run.
func restoreCommand(*flag.FlagSet) program.Run {
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 1 {
			return program.Usagef("expected one FILE, e.g. gateway restore data/backups/gateway-20261130T020000.000Z.db")
		}
		c, err := load(env)
		if err != nil {
			return err
		}
		path, err := c.Store.URL.Path()
		if err != nil {
			return err
		}
		unlock, err := sqlstore.Lock(path)
		if err != nil {
			return err
		}
		defer func() { _ = unlock() }() // the process ends
		version, err := ledger.Verify(ctx, env.Args[0])
		if err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
		former, err := sqlstore.Replace(ctx, path, env.Args[0], time.Now())
		if err != nil {
			return fmt.Errorf("restoring: %w", err)
		}
		_, err = fmt.Fprintf(env.Stdout, "restored %s (schema version %d) to %s\n", env.Args[0], version, path)
		if err == nil && former != "" {
			_, err = fmt.Fprintf(env.Stdout, "the store that was there is now %s; remove it when you no longer need it\n", former)
		}
		return err
	}
}
