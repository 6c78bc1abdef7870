package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrSupervised says that a supervisor of the layout runs: it is starting,
// running or stopping.
var ErrSupervised = errors.New("another make up or make down of this suite is at work; wait a moment and look again with: make status")

// Lock marks the layout as this process's own, so that two supervisors never
// share a data folder: the second would take the first one's control socket, and
// nobody could stop the first. The mark goes with the process, however it ends.
// The error is [ErrSupervised] while another process holds it.
func (l Layout) Lock() (unlock func() error, err error) {
	if err := l.make(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(l.Dir, "supervisor.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the suite: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrSupervised
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the suite: %w", err), file.Close())
	}
	return file.Close, nil
}
