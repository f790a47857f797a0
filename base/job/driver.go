package job

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/firth-project/firth/base/db"
)

// newDriver returns River's driver over the product's own connections, so that a
// job is enqueued in the transaction of the state it belongs to.
func newDriver(d *db.DB) riverdriver.Driver[*sql.Tx] { return driverOver(d.Engine(), d.SQL()) }

// newReader is newDriver for queries, which on SQLite need not wait for writers.
func newReader(d *db.DB) riverdriver.Executor {
	return driverOver(d.Engine(), d.ReadSQL()).GetExecutor()
}

func driverOver(engine db.Engine, pool *sql.DB) riverdriver.Driver[*sql.Tx] {
	if engine == db.PostgreSQL {
		return riverdatabasesql.New(pool)
	}
	return riversqlite.New(pool)
}

// listening is a driver that hears of new jobs through db's wake-ups, on both
// engines. By themselves these two drivers would only poll.
type listening struct {
	riverdriver.Driver[*sql.Tx]
	woken chan Queue
}

func (listening) SupportsListener() bool { return true }

// SupportsListenNotify is false so that River does not notify: db does.
func (listening) SupportsListenNotify() bool { return false }

func (l listening) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return listener(l)
}

// forward passes wake-ups of one queue on until ctx ends.
func (l listening) forward(ctx context.Context, d *db.DB, q Queue) {
	woken, stop := d.Wait(queueTopic(q))
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		}
		select {
		case <-ctx.Done():
			return
		case l.woken <- q:
		}
	}
}

// wakeAfter looks at a queue again when one of its jobs is to run again soon.
// River writes the end of the attempt before within a quarter of a second.
func (l listening) wakeAfter(ctx context.Context, q Queue, after time.Duration) {
	const written = 275 * time.Millisecond
	if after > soon {
		return
	}
	time.AfterFunc(max(after, written), func() {
		select {
		case <-ctx.Done():
		case l.woken <- q:
		}
	})
}

// listener is the connection on which River believes to receive NOTIFY.
type listener listening

func (listener) Close(context.Context) error            { return nil }
func (listener) Connect(context.Context) error          { return nil }
func (listener) Listen(context.Context, string) error   { return nil }
func (listener) Ping(context.Context) error             { return nil }
func (listener) Schema() string                         { return "" }
func (listener) SetAfterConnectExec(string)             {}
func (listener) Unlisten(context.Context, string) error { return nil }

// WaitForNotification returns the next wake-up in the form that River's
// producers expect of an insert.
func (l listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case q := <-l.woken:
		payload, err := json.Marshal(map[string]Queue{"queue": q})
		return &riverdriver.Notification{Topic: "river_insert", Payload: string(payload)}, err
	}
}
