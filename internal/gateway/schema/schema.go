// Package schema is the tables of the gateway's store, which several packages share:
// the ledger's, and those of what the operations API makes. Each package has the SQL
// of its own tables.
package schema

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed migrations
var files embed.FS

// Migrations are the steps that lead to the tables, for [sqlstore.Options].
func Migrations() (fs.FS, error) {
	folder, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the store's schema: %w", err)
	}
	return folder, nil
}
