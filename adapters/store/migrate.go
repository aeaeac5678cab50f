package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrate brings the schema up to date. The caller holds a lock against others.
func (s *Store) migrate(ctx context.Context, dialect goose.Dialect) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	// The schema's version has a table of our own: others may keep theirs in goose's default one.
	provider, err := goose.NewProvider(dialect, s.db, files,
		goose.WithTableName("store_schema"), goose.WithSlog(s.log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	has, knows, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: read the schema's version: %w", translate(err))
	}
	if has > knows {
		return fmt.Errorf("%w: the database has version %d of it, and this program knows %d; use the newer program", ErrSchema, has, knows)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("store: bring the schema up to date: %w", translate(err))
	}
	return nil
}
