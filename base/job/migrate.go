package job

import (
	"context"
	"embed"
	"log/slog"

	"github.com/riverqueue/river/rivermigrate"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate creates or updates River's tables and this package's.
func Migrate(ctx context.Context, d *db.DB) error {
	if err := d.Migrate(ctx, migrations); err != nil {
		return err
	}
	err := d.Alone(ctx, func(ctx context.Context) error {
		migrator, err := rivermigrate.New(newDriver(d), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	})
	return fault.Wrap(err, "migrate jobs")
}
