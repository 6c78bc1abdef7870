package feishu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// saveEvery is the shortest time between two writes of the snapshot.
const saveEvery = 200 * time.Millisecond

// saver keeps a file up to date with the store: after a change within saveEvery,
// and once more at the end. What happened in between is lost by a crash, which a
// stand-in may.
type saver struct {
	path string
	stop chan struct{}
	once sync.Once
	done chan struct{}
	err  error // of the last write; read after done
}

func newSaver(path string, s *store, log *slog.Logger) (*saver, error) {
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of the snapshot: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("reading snapshot: %w", err)
	default:
		var from state
		if err := json.Unmarshal(raw, &from); err != nil {
			return nil, fmt.Errorf("reading snapshot %s (remove it to start afresh): %w", path, err)
		}
		s.restore(from)
	}
	v := &saver{path: path, stop: make(chan struct{}), done: make(chan struct{})}
	go v.run(s, log)
	return v, nil
}

func (v *saver) run(s *store, log *slog.Logger) {
	defer close(v.done)
	saved, changed := s.watch()
	for {
		select {
		case <-v.stop:
			_, v.err = v.write(s)
			return
		case <-changed:
		}
		version, err := v.write(s)
		if err != nil {
			log.Error("writing the snapshot failed", "error", err)
		} else {
			saved = version
		}
		select {
		case <-v.stop:
		case <-time.After(saveEvery):
		}
		var now uint64
		if now, changed = s.watch(); now != saved {
			settled := make(chan struct{})
			close(settled)
			changed = settled
		}
	}
}

// write replaces the file as a whole and returns the version it holds.
func (v *saver) write(s *store) (uint64, error) {
	s.mu.Lock()
	version := s.version
	raw, err := json.Marshal(s.state)
	s.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("encoding snapshot: %w", err)
	}
	next := v.path + ".next"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return 0, fmt.Errorf("writing snapshot: %w", err)
	}
	if err := os.Rename(next, v.path); err != nil {
		return 0, fmt.Errorf("replacing snapshot: %w", err)
	}
	return version, nil
}

func (v *saver) close() error {
	v.once.Do(func() { close(v.stop) })
	<-v.done
	return v.err
}
