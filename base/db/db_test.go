package db_test

import (
	"context"
	"io/fs"
	"testing"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
)

func TestOpenBoth(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t)
		var one int
		if err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			return tx.NewRaw("SELECT 1").Scan(ctx, &one)
		}); err != nil || one != 1 {
			t.Fatal(one, err)
		}
	})
}
