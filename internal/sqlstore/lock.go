package sqlstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrServed is returned where another process serves the store.
var ErrServed = errors.New("another process serves this store: stop it, or set store.url to another file")

// Lock marks the store at the path as served by this process: what a program keeps in
// memory about its store would be wrong if a second one wrote to it. The mark goes
// with the process, however it ends. The folder is made as needed.
func Lock(path string) (unlock func() error, err error) {
	if err := folder(path); err != nil {
		return nil, err
	}
	return lock(path, os.O_CREATE)
}

// Served reports whether a process serves the store now.
func Served(path string) (bool, error) {
	unlock, err := lock(path, 0)
	switch {
	case errors.Is(err, ErrServed):
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return false, unlock()
}

func lock(path string, flags int) (unlock func() error, err error) {
	file, err := os.OpenFile(filepath.Clean(path+".lock"), os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("%s: %w", path, ErrServed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the store: %w", err), file.Close())
	}
	return file.Close, nil
}
