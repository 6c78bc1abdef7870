package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

const (
	lookEvery = 250 * time.Millisecond
	// copyPages is how many pages of commits are worth copying at once, copyAfter for
	// how long fewer are let wait. A page that changes often is copied once for many
	// commits.
	copyPages = 1000
	copyAfter = 30 * time.Second
	// cutPatience bounds how long a commit waits for readers of an old state to end
	// while the log is being cut; where they do not, cutAgain is the time to the next try.
	cutPatience = 50 * time.Millisecond
	cutAgain    = time.Second
)

// copier copies what was committed from the write-ahead log into the file, beside the
// commits. It is owned by the DB.
type copier struct {
	path  string
	limit int64 // bytes of the log
	db    *sql.DB
	done  chan struct{}

	dirty atomic.Bool           // something was written since the last look
	fault atomic.Pointer[error] // of the last try

	// Of run alone.
	since time.Time // since when something waits to be copied; zero = nothing
	again time.Time // no cut before
}

// newCopier opens a connection of its own: a checkpoint on the writing one would be in
// the way of commits.
func newCopier(path string, o Options) (*copier, error) {
	db, err := open(path, o.FullSync, 1, cutPatience, "wal_autocheckpoint(0)")
	if err != nil {
		return nil, err
	}
	c := &copier{path: path, limit: o.WALLimit, db: db, done: make(chan struct{})}
	c.dirty.Store(true) // an earlier process may have left a log
	return c, nil
}

// wrote notes a commit.
func (c *copier) wrote() {
	if !c.dirty.Load() {
		c.dirty.Store(true)
	}
}

// run copies until stopped is closed.
func (c *copier) run(stopped <-chan struct{}) {
	defer close(c.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			return
		case now := <-ticker.C:
			c.look(now)
		}
	}
}

// look copies where that is worth it, and cuts the log where it is too long.
func (c *copier) look(now time.Time) {
	if !c.dirty.Swap(false) && c.since.IsZero() && !c.tooLong() {
		return
	}
	waiting, err := c.checkpoint("NOOP")
	if err == nil && waiting > 0 && c.since.IsZero() {
		c.since = now
	}
	if err == nil && (waiting >= copyPages || !c.since.IsZero() && now.Sub(c.since) >= copyAfter) {
		waiting, err = c.checkpoint("PASSIVE")
		c.since = now // of what was committed meanwhile
	}
	if err == nil && waiting == 0 {
		c.since = time.Time{}
	}
	if err == nil && c.tooLong() && !now.Before(c.again) {
		if _, err = c.checkpoint("TRUNCATE"); errors.Is(err, errBusy) {
			c.again, err = now.Add(cutAgain), nil
		}
	}
	if err != nil {
		c.dirty.Store(true)
	}
	c.fault.Store(&err)
}

// tooLong reports whether the log's file is beyond its limit.
func (c *copier) tooLong() bool {
	info, err := os.Stat(c.path + "-wal")
	return err == nil && info.Size() > c.limit
}

// errBusy means that a reader of an old state, or a commit, is in the way.
var errBusy = errors.New("the log is in use")

// checkpoint runs one of SQLite's checkpoints and returns how many pages are left to
// copy. NOOP only looks; PASSIVE copies what is in nobody's way; TRUNCATE makes
// commits wait, copies all, and cuts the file to nothing.
func (c *copier) checkpoint(mode string) (waiting int, err error) {
	ctx := context.Background() // ends by itself: no mode waits for longer than cutPatience
	var busy, pages, copied int
	if err := c.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &copied); err != nil {
		return 0, fmt.Errorf("copying commits into the file: %w", err)
	}
	if busy != 0 {
		return pages - copied, errBusy
	}
	return pages - copied, nil
}

// failure says why commits could not be copied, nil where they could.
func (c *copier) failure() error {
	p := c.fault.Load()
	switch {
	case p == nil || *p == nil:
		return nil
	case IsFull(*p):
		return fmt.Errorf("the disk of %s is full; free space there", filepath.Dir(c.path))
	default:
		return *p
	}
}

// close waits for run, whose stopped must be closed.
func (c *copier) close() error {
	<-c.done
	return c.db.Close()
}
