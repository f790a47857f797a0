package app

import (
	"context"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/node"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
	"github.com/firth-project/firth/flow/retrieval"
)

// migrate brings the database to what this program knows: each package owns its
// tables, numbers are global.
func migrate(ctx context.Context, d *db.DB) error {
	if err := job.Migrate(ctx, d); err != nil {
		return err
	}
	return d.Migrate(ctx,
		event.Migrations, account.Migrations(), content.Migrations(), piece.Migrations(),
		provider.Migrations(), deal.Migrations(), retrieval.Migrations(), node.Migrations(), dataset.Migrations(),
	)
}
