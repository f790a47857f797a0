package db_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
)

func TestTxCommitsOrRollsBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t, things)
		told := 0
		insert := func(ctx context.Context, tx *db.Tx, name string) {
			if _, err := tx.NewInsert().Model(&thing{Name: name, At: time.Now()}).Exec(ctx); err != nil {
				t.Error(err)
			}
			tx.OnCommit(func() { told++ })
		}
		no := errors.New("no")
		if err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { insert(ctx, tx, "error"); return no }); !errors.Is(err, no) {
			t.Errorf("err = %v", err)
		}
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic did not go on")
				}
			}()
			d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { insert(ctx, tx, "panic"); panic("boom") })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		if err := d.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { insert(ctx, tx, "cancel"); cancel(); return nil }); err == nil {
			t.Error("committed after its ctx had ended")
		}
		if n := count(t, d); n != 0 || told != 0 {
			t.Fatalf("%d rows left, %d commits told", n, told)
		}
		if err := d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error { insert(ctx, tx, "ok"); return nil }); err != nil {
			t.Error(err)
		}
		if n := count(t, d); n != 1 || told != 1 {
			t.Errorf("%d rows, %d commits told", n, told)
		}
	})
}

// On SQLite it would wait for itself; on PostgreSQL it would be another
// transaction than its author thinks.
func TestNestedTxFailsFast(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d, other := open(t, things), open(t, things)
		err := d.Tx(t.Context(), func(ctx context.Context, _ *db.Tx) error {
			if err := other.Tx(ctx, func(context.Context, *db.Tx) error { return nil }); err != nil {
				t.Errorf("another database: %v", err)
			}
			return d.Tx(ctx, func(context.Context, *db.Tx) error { t.Error("it ran"); return nil })
		})
		if !fault.Is(err, fault.Internal) {
			t.Errorf("err = %v", err)
		}
	})
}

// Compare-and-swap is enough at Read Committed: 32 writers lose no increment.
func TestCompareAndSwap(t *testing.T) {
	const writers, each = 32, 15
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t, things)
		if err := add(t, d, &thing{Name: "counter", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		increment := func() error {
			return d.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				var n int64
				if err := tx.NewRaw("SELECT n FROM db_thing WHERE name = 'counter'").Scan(ctx, &n); err != nil {
					return err
				}
				res, err := tx.NewRaw("UPDATE db_thing SET n = ? WHERE name = 'counter' AND n = ?", n+1, n).Exec(ctx)
				return db.One(res, err, "count to %d", n+1)
			})
		}
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for done := 0; done < each; {
					switch err := increment(); {
					case err == nil:
						done++
					case !fault.Is(err, fault.Conflict):
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		var n int64
		if err := d.Read().NewRaw("SELECT n FROM db_thing").Scan(t.Context(), &n); err != nil || n != writers*each {
			t.Errorf("counted to %d, want %d: %v", n, writers*each, err)
		}
	})
}

// A wake-up comes after the commit, to every waiter, and never for a rollback.
func TestWake(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open func(t *testing.T, migrations ...fs.FS) *db.DB) {
		d := open(t)
		elsewhere := d
		if d.Engine() == db.PostgreSQL {
			elsewhere = dbtest.Reopen(t, d.URL())
		}
		here, stopHere := d.Wait("a")
		there, stopThere := elsewhere.Wait("a")
		other, stopOther := elsewhere.Wait("b")
		defer stopHere()
		defer stopThere()
		wake := func(topic string, err error) {
			d.Tx(t.Context(), func(_ context.Context, tx *db.Tx) error { tx.Wake(topic); return err })
		}
		await := func(what string, woken <-chan struct{}) {
			t.Helper()
			select {
			case <-woken:
			case <-time.After(3 * time.Minute):
				t.Fatalf("%s was not woken", what)
			}
		}
		if d.Engine() == db.PostgreSQL {
			// So that what follows is told from what may have been missed.
			await("b, as it began to listen", other)
			await("a, as it began to listen", there)
			await("a, as it began to listen", here)
		}
		wake("a", fault.New(fault.Conflict, "no"))
		wake("b", nil)
		await("b", other)
		if len(here)+len(there) > 0 {
			t.Error("woken by a rollback")
		}
		for i := range 3 {
			wake("a", nil)
			await(fmt.Sprint("here ", i), here)
			await(fmt.Sprint("there ", i), there)
		}
		stopOther()
		wake("b", nil)
		if len(other) > 0 {
			t.Error("woken after stop")
		}
	})
}
