package ledger

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Verify checks that the file is a whole and sound ledger that this program can read,
// and returns the version of its schema. The file is not changed.
func Verify(ctx context.Context, file string) (version int64, err error) {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, fmt.Errorf("reading the ledger's schema: %w", err)
	}
	return sqlstore.Verify(ctx, file, folder, "backend_states")
}
