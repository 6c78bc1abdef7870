package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
)

// Copy writes a consistent copy of the store at path to a file that must not exist,
// also while a process serves the store, whose commits do not wait for it.
func Copy(ctx context.Context, path, to string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no store to copy: %w", err)
	}
	db, err := open(path, false, 1, busyTimeout)
	if err != nil {
		return err
	}
	return errors.Join(vacuumInto(ctx, db, to), db.Close())
}

// vacuumInto fills a new file, which is ours to read alone from its beginning.
func vacuumInto(ctx context.Context, db *sql.DB, to string) error {
	file, err := os.OpenFile(filepath.Clean(to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = file.Close()
	if err == nil {
		_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", to, err), os.Remove(to))
	}
	return nil
}

// Verify checks that the file is a whole and sound store, of a schema that this
// program's migrations know and with the table, and returns the schema's version. The
// file is not changed.
func Verify(ctx context.Context, file string, migrations fs.FS, table string) (version int64, err error) {
	if _, err := os.Stat(file); err != nil {
		return 0, err
	}
	if info, err := os.Stat(file + "-wal"); err == nil && info.Size() > 0 {
		return 0, fmt.Errorf("%s is not whole: a part of it is in %s-wal, as of a store that is in use; take a backup instead", file, file)
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		return 0, err
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: absolute, RawQuery: "mode=ro&immutable=1"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return verify(ctx, db, file, migrations, table)
}

func verify(ctx context.Context, db *sql.DB, file string, migrations fs.FS, table string) (version int64, err error) {
	var result string
	switch err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); {
	case err != nil:
		return 0, fmt.Errorf("%s is not a store, or a damaged one: %w", file, err)
	case result != "ok":
		return 0, fmt.Errorf("%s is damaged (%s)", file, result)
	}
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('goose_db_version', ?)`, table).Scan(&tables); err != nil {
		return 0, fmt.Errorf("reading the schema of %s: %w", file, err)
	}
	if tables < 2 {
		return 0, fmt.Errorf("%s is no store of this program: it has no table %s", file, table)
	}
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version); err != nil {
		return 0, fmt.Errorf("reading the schema's version of %s: %w", file, err)
	}
	newest, err := newestOf(migrations)
	if err != nil {
		return 0, err
	}
	if version < 1 || version > newest {
		return version, fmt.Errorf("the schema of %s is version %d, this program knows versions 1 to %d", file, version, newest)
	}
	return version, nil
}

// newestOf is the version that the migrations lead to.
func newestOf(migrations fs.FS) (newest int64, err error) {
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return 0, fmt.Errorf("reading migrations: %w", err)
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// Replace puts a copy of the file in the place of the store at path, which the caller
// has locked. The former store is kept beside it, under the name that is returned; ""
// where there was none. Whenever this ends, one of the two is in place, whole.
func Replace(ctx context.Context, path, file string, now time.Time) (former string, err error) {
	incoming := path + ".incoming"
	if err := duplicate(file, incoming); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(incoming))
		}
	}()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", settle(incoming, path)
	} else if err != nil {
		return "", err
	}
	former = fmt.Sprintf("%s.before-restore-%s", path, now.UTC().Format("20060102T150405.000Z"))
	if err := aside(ctx, path, former); err != nil {
		return "", fmt.Errorf("keeping the present store as %s: %w", former, err)
	}
	return former, settle(incoming, path)
}

// aside gives the store a second name. Its log is emptied first, which a reader can be
// in the way of; where that cannot be done, for the store is damaged, the log goes with it.
func aside(ctx context.Context, path, former string) error {
	db, err := open(path, true, 1, cutPatience)
	if err != nil {
		return err
	}
	var busy, pages, copied int
	emptied := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	if err := db.Close(); err != nil {
		return err
	}
	if busy != 0 || emptied != nil && !isDamage(emptied) {
		return errors.Join(errors.New("its last commits could not be copied into the file: another program may be reading it, or the disk may be full"), emptied)
	}
	if err := os.Link(path, former); err != nil {
		return err
	}
	if emptied != nil {
		if err := os.Link(path+"-wal", former+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// settle moves the new file into place. A log that is left from the former one must
// not be taken for its own.
func settle(incoming, path string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(incoming, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// duplicate copies a file, down to the disk.
func duplicate(from, to string) (err error) {
	in, err := os.Open(filepath.Clean(from))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(filepath.Clean(to), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(fmt.Errorf("copying %s: %w", from, err), out.Close(), os.Remove(to))
	}
	return errors.Join(out.Sync(), out.Close())
}

// syncFolder makes a change of names durable.
func syncFolder(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Publish gives a finished file its name, down to the disk. It replaces nothing.
func Publish(file, name string) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := os.Link(file, name); err != nil {
		return err
	}
	return errors.Join(os.Remove(file), syncFolder(filepath.Dir(name)))
}
