package job

import (
	"context"
	"database/sql"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river/riverdriver"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Options configure a Client. The zero value enqueues only.
type Options struct {
	Handlers []Handler
	// Workers is how many jobs of each queue this process runs at a time; nil
	// means 16 light, 32 net, and one hash per processor. Queues not named are
	// left to other processes.
	Workers map[Queue]int
	// Drain is how long Run lets running jobs finish after its ctx has ended,
	// before theirs end too; 20 s if zero.
	Drain time.Duration
	// Clock tells schedules the time; time.Now if nil.
	Clock func() time.Time
}

// Client enqueues jobs and, through Run, works them. On SQLite there is one
// running client per database file; on PostgreSQL there may be many.
type Client struct {
	db       *db.DB
	log      *slog.Logger
	options  Options
	driver   riverdriver.Driver[*sql.Tx]
	handlers map[string]Handler
	panics   atomic.Int64

	mu      sync.Mutex
	running map[int64]context.CancelCauseFunc // by job id, in this process
}

// New returns a client over a migrated database. Handlers may also be added
// later, by Handle.
func New(d *db.DB, log *slog.Logger, o Options) (*Client, error) {
	if o.Workers == nil {
		o.Workers = map[Queue]int{Light: 16, Net: 32, Hash: runtime.GOMAXPROCS(0)}
	}
	for q, n := range o.Workers {
		if n < 1 || n > 10_000 {
			return nil, fault.New(fault.Invalid, "job queue %s: %d workers; use 1 to 10000", q, n)
		}
	}
	if o.Drain <= 0 {
		o.Drain = 20 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	c := &Client{
		db:       d,
		log:      log,
		options:  o,
		driver:   newDriver(d),
		handlers: map[string]Handler{},
		running:  map[int64]context.CancelCauseFunc{},
	}
	c.Handle(o.Handlers...)
	return c, nil
}

// Handle adds handlers; it must come before Run. Services take the client to
// enqueue and give their handlers to it afterwards. A second handler of one
// kind, or a name that is none, is a programmer's error and panics.
func (c *Client) Handle(hs ...Handler) {
	for _, h := range hs {
		if _, taken := c.handlers[h.name]; taken || !validName.MatchString(h.name) {
			panic("job: kind " + h.name + " has a handler already or an invalid name")
		}
		c.handlers[h.name] = h
	}
}

// Panics returns how many attempts have ended in a panic in this process.
func (c *Client) Panics() int64 { return c.panics.Load() }
