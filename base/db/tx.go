package db

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/fault"
)

// Tx is an open transaction, and the only handle to be used inside one.
type Tx struct {
	bun.Tx
	committed []func()
	wakes     map[string]struct{}
}

// OnCommit has fn run after the transaction has committed, in the order of the
// calls, before DB.Tx returns. It is for caches and
// counters (Wake is for wake-ups): what must not be lost is a row. fn must be quick and may not fail; it does not run after a rollback.
func (tx *Tx) OnCommit(fn func()) { tx.committed = append(tx.committed, fn) }

type txKey struct{}

// Tx runs fn in a transaction: commit when it returns nil, rollback when it
// returns an error or panics (the panic goes on). Inside fn only tx may be used
// for SQL, and only the ctx that fn is given for anything it calls: through that
// ctx a nested Tx on the same database is refused with fault.Internal, where it
// would wait for itself for ever on SQLite.
//
// PostgreSQL runs at Read Committed. A deadlock or serialization failure comes
// back as fault.Conflict, a full disk as fault.Exhausted, a lost or busy
// database as fault.Unavailable; fn's own errors keep their kinds.
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if ctx.Value(txKey{}) == d {
		return fault.New(fault.Internal, "transaction inside a transaction: use the tx already open")
	}
	btx, err := d.write.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return fault.Wrap(classify(err), "begin transaction")
	}
	tx := &Tx{Tx: btx}
	done := false
	defer func() {
		if !done {
			btx.Rollback() // the error or panic under way matters more
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{}, d), tx); err != nil {
		return classify(err)
	}
	done = true
	if err := btx.Commit(); err != nil {
		return fault.Wrap(classify(err), "commit transaction")
	}
	d.bell.ring(tx.wakes)
	for _, fn := range tx.committed {
		fn()
	}
	return nil
}

// One ends a compare-and-swap: it passes err on, and turns a statement that
// changed no row into fault.Conflict. what and args name the thing, as in
// fault.Wrap ("accept deal %d").
func One(res sql.Result, err error, what string, args ...any) error {
	if err != nil {
		return fault.Wrap(classify(err), what, args...)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fault.Wrap(err, what, args...)
	}
	if n == 0 {
		return fault.New(fault.Conflict, "%s: it is no longer in the state this change assumed", fmt.Sprintf(what, args...))
	}
	return nil
}
