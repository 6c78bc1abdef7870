// Package backup makes, lists and removes copies of the gateway's store.
//
// A backup that is listed is whole: it is written under another name, checked, brought
// down to the disk, and only then named. Requests never wait for one, and none is
// begun that the disk has no room for.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const (
	prefix, suffix = "gateway-", ".db"
	unfinished     = ".partial"
	stamp          = "20060102T150405.000Z"

	lookEvery = time.Minute
	// retryAfter is how long a schedule waits after a backup that failed.
	retryAfter = 10 * time.Minute
	// abandoned is how old an unfinished file is that nobody writes any more.
	abandoned = 24 * time.Hour
)

// ErrBusy is returned while another backup is being made.
var ErrBusy = errors.New("a backup is being made")

// Backup is a copy of the store.
type Backup struct {
	Name      string    `json:"name"`
	SizeBytes int64     `json:"size_bytes"`
	CreatedAt time.Time `json:"created_at"`
}

// Settings say where backups are, and for how long.
type Settings struct {
	Dir   string
	Every time.Duration // 0 = none by schedule
	Keep  time.Duration // 0 = for ever; the newest is always kept
}

// Keeper makes backups. Its methods may be used from several goroutines.
type Keeper struct {
	Settings func() Settings
	Store    string                                       // the store's file
	Check    func(ctx context.Context, file string) error // of a copy
	Log      *slog.Logger
	Now      func() time.Time

	making sync.Mutex
	last   time.Time // when this process made one, by the monotonic clock; guarded by making
}

// Make makes a backup now, and removes those that are past their time.
func (k *Keeper) Make(ctx context.Context) (Backup, error) {
	if !k.making.TryLock() {
		return Backup{}, ErrBusy
	}
	defer k.making.Unlock()
	s, now := k.Settings(), k.Now()
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return Backup{}, fmt.Errorf("backup folder %s is not usable: %w; create it, or set backup.dir", s.Dir, err)
	}
	k.clean(s.Dir, now)
	made, err := k.write(ctx, filepath.Join(s.Dir, NameOf(now)), now)
	if err != nil {
		return Backup{}, err
	}
	k.last = now
	if err := prune(s, now); err != nil {
		k.Log.WarnContext(ctx, "removing old backups failed", "error", err)
	}
	return made, nil
}

// MakeAt makes a backup under a name of the caller's, which must not exist. It is not
// one of those that are listed and removed.
func (k *Keeper) MakeAt(ctx context.Context, file string) (Backup, error) {
	if !k.making.TryLock() {
		return Backup{}, ErrBusy
	}
	defer k.making.Unlock()
	if _, err := os.Lstat(file); err == nil {
		return Backup{}, fmt.Errorf("%s exists already; give another name", file)
	}
	return k.write(ctx, file, k.Now())
}

func (k *Keeper) write(ctx context.Context, file string, now time.Time) (made Backup, err error) {
	if err := k.room(filepath.Dir(file)); err != nil {
		return Backup{}, err
	}
	partial := file + unfinished
	defer func() {
		if err != nil {
			_ = os.Remove(partial) // there may be none
		}
	}()
	if err := sqlstore.Copy(ctx, k.Store, partial); err != nil {
		return Backup{}, fmt.Errorf("copying the store: %w", err)
	}
	if err := k.Check(ctx, partial); err != nil {
		return Backup{}, fmt.Errorf("checking the backup: %w", err)
	}
	info, err := os.Stat(partial)
	if err != nil {
		return Backup{}, err
	}
	if err := sqlstore.Publish(partial, file); err != nil {
		return Backup{}, fmt.Errorf("naming the backup: %w", err)
	}
	return Backup{Name: filepath.Base(file), SizeBytes: info.Size(), CreatedAt: now.UTC().Truncate(time.Millisecond)}, nil
}

// room refuses where the copy might fill the disk, which the store may share.
func (k *Keeper) room(dir string) error {
	var need int64
	for _, part := range []string{"", "-wal"} {
		if info, err := os.Stat(k.Store + part); err == nil {
			need += info.Size()
		}
	}
	need += need / 10
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("looking for room in %s: %w", dir, err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < need { //nolint:unconvert // its type differs between systems
		return fmt.Errorf("no room for a backup in %s: it may take %d MiB, %d MiB are free; free space there, or set backup.dir", dir, need>>20, free>>20)
	}
	return nil
}

// List returns the backups, newest first.
func (k *Keeper) List() ([]Backup, error) { return list(k.Settings().Dir) }

func list(dir string) ([]Backup, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	found := []Backup{}
	for _, e := range entries {
		at, ok := timeOf(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("listing backups: %w", err)
		}
		found = append(found, Backup{e.Name(), info.Size(), at})
	}
	slices.SortFunc(found, func(a, b Backup) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return found, nil
}

// NameOf is the name of a backup that is made at the moment.
func NameOf(now time.Time) string { return prefix + now.UTC().Format(stamp) + suffix }

// timeOf reads the name of a backup.
func timeOf(name string) (time.Time, bool) {
	middle, ok := strings.CutPrefix(name, prefix)
	middle, ended := strings.CutSuffix(middle, suffix)
	at, err := time.Parse(stamp, middle)
	return at, ok && ended && err == nil
}

// prune removes what is past its time, the newest never.
func prune(s Settings, now time.Time) error {
	all, err := list(s.Dir)
	if err != nil || s.Keep == 0 || len(all) == 0 {
		return err
	}
	var failed []error
	for _, b := range all[1:] {
		if now.Sub(b.CreatedAt) <= s.Keep {
			continue
		}
		if err := os.Remove(filepath.Join(s.Dir, b.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("removing an old backup: %w", err))
		}
	}
	return errors.Join(failed...)
}

// clean removes what processes that ended left unfinished.
func (k *Keeper) clean(dir string, now time.Time) {
	left, err := filepath.Glob(filepath.Join(dir, prefix+"*"+suffix+unfinished))
	if err != nil {
		return // the pattern is ours
	}
	for _, file := range left {
		if info, err := os.Stat(file); err == nil && now.Sub(info.ModTime()) > abandoned {
			if err := os.Remove(file); err != nil {
				k.Log.Warn("removing an unfinished backup failed", "error", err)
			}
		}
	}
}

// Run makes backups by schedule until ctx ends: one is due when the newest is older
// than Settings.Every.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var retry time.Time
	for {
		if now := k.Now(); !now.Before(retry) && k.due(now) {
			retry = time.Time{}
			made, err := k.Make(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				retry = now.Add(retryAfter)
				k.Log.ErrorContext(ctx, "backup failed", "error", err)
			default:
				k.Log.InfoContext(ctx, "backup made", "file", made.Name, "bytes", made.SizeBytes)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// due reports whether it is time for a backup. What this process made counts by the
// monotonic clock; what others made by its name, whichever way the clock was set since.
func (k *Keeper) due(now time.Time) bool {
	s := k.Settings()
	if s.Every == 0 {
		return false
	}
	k.making.Lock()
	last := k.last
	k.making.Unlock()
	if !last.IsZero() {
		return now.Sub(last) >= s.Every
	}
	all, err := list(s.Dir)
	return err != nil || len(all) == 0 || now.Sub(all[0].CreatedAt).Abs() >= s.Every
}
