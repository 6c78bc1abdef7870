package ledger

import (
	"context"

	"github.com/fleetwatch/fleetwatch/internal/gateway/schema"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Verify checks that the file is a whole and sound ledger that this program can read,
// and returns the version of its schema. The file is not changed.
func Verify(ctx context.Context, file string) (version int64, err error) {
	migrations, err := schema.Migrations()
	if err != nil {
		return 0, err
	}
	return sqlstore.Verify(ctx, file, migrations, "backend_states")
}
