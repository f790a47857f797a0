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

// advisory is the number under which processes that start together on
// PostgreSQL take turns; River's migrations have no lock of their own.
const advisory = 0x6669727468 // "firth"

// Migrate creates or updates River's tables and this package's.
func Migrate(ctx context.Context, d *db.DB) error {
	if err := d.Migrate(ctx, migrations); err != nil {
		return err
	}
	if d.Engine() == db.PostgreSQL {
		conn, err := d.SQL().Conn(ctx)
		if err != nil {
			return fault.Wrap(err, "migrate jobs")
		}
		// The lock belongs to the session and goes with it, unlocked or not.
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", advisory); err != nil {
			return fault.Wrap(err, "migrate jobs")
		}
		defer conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", advisory)
	}
	migrator, err := rivermigrate.New(newDriver(d), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fault.Wrap(err, "migrate jobs")
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return fault.Wrap(err, "migrate jobs")
}
