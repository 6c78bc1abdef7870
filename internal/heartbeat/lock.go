package heartbeat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

var errServed = errors.New("another heartbeat serves this store: stop it, or set store.url to another file")

// lock marks the store as served by this process. The mark goes with the
// process, however it ends.
func lock(store string) (unlock func() error, err error) {
	file, err := os.OpenFile(filepath.Clean(store+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("%s: %w", store, errServed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the store: %w", err), file.Close())
	}
	return file.Close, nil
}

// served reports whether a process serves the store now.
func served(store string) (bool, error) {
	unlock, err := lock(store)
	switch {
	case errors.Is(err, errServed):
		return true, nil
	case err != nil:
		return false, err
	}
	return false, unlock()
}
