package db

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
)

// channel is the one PostgreSQL notification channel; a payload is the sender's
// id, a blank and the topic.
const channel = "firth_wake"

// bell carries wake-ups between the holders of one database: within the process
// directly, between processes on PostgreSQL by NOTIFY. A wake-up says only "look
// again". It may be lost with a connection, so every waiter also polls, slowly.
type bell struct {
	mu      sync.Mutex
	waiters map[string]map[chan struct{}]struct{} // by topic
	pending map[string]struct{}                   // topics to be told to other processes
	kick    chan struct{}                         // pending is not empty; nil on SQLite
	self    string                                // this handle, so that it does not hear itself
	listen  func()                                // starts listening, once
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// Wake has everyone who waits for the topic look again after this transaction
// has committed: at once in this process, and within milliseconds in others on
// PostgreSQL. The notification is sent after the commit, not in it, because
// PostgreSQL lets only one notifying transaction commit at a time.
func (tx *Tx) Wake(topic string) {
	if tx.wakes == nil {
		tx.wakes = map[string]struct{}{}
	}
	tx.wakes[topic] = struct{}{}
}

// Wait returns a channel that receives after every Wake of the topic (several
// may become one), until stop is called. Poll beneath it: a wake-up can be lost
// when a process dies or a connection breaks.
func (d *DB) Wait(topic string) (woken <-chan struct{}, stop func()) {
	b := d.bell
	c := make(chan struct{}, 1)
	b.mu.Lock()
	if b.waiters[topic] == nil {
		b.waiters[topic] = map[chan struct{}]struct{}{}
	}
	b.waiters[topic][c] = struct{}{}
	b.mu.Unlock()
	b.listen()
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiters[topic], c)
	}
}

func newBell() *bell {
	return &bell{
		waiters: map[string]map[chan struct{}]struct{}{},
		listen:  func() {},
		stop:    func() {},
	}
}

// newPostgresBell returns a bell that also rings in other processes: one
// goroutine sends what has been committed, and once somebody waits another one
// holds a connection of its own that listens.
func newPostgresBell(pool *bun.DB, cfg *pgx.ConnConfig, self string) *bell {
	ctx, stop := context.WithCancel(context.Background())
	b := newBell()
	b.pending, b.kick, b.self, b.stop = map[string]struct{}{}, make(chan struct{}, 1), self, stop
	b.done.Go(func() { b.send(ctx, pool) })
	b.listen = sync.OnceFunc(func() { b.done.Go(func() { b.hear(ctx, cfg) }) })
	return b
}

func (b *bell) close() {
	b.stop()
	b.done.Wait()
}

// ring wakes the waiters here and leaves word for those elsewhere.
func (b *bell) ring(topics map[string]struct{}) {
	if len(topics) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for topic := range topics {
		wakeAll(b.waiters[topic])
	}
	if b.kick != nil {
		maps.Copy(b.pending, topics)
		select {
		case b.kick <- struct{}{}:
		default:
		}
	}
}

func wakeAll(waiters map[chan struct{}]struct{}) {
	for c := range waiters {
		select {
		case c <- struct{}{}:
		default: // it has not looked since the last wake-up
		}
	}
}

func (b *bell) send(ctx context.Context, pool *bun.DB) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.kick:
		}
		b.mu.Lock()
		topics := slices.Collect(maps.Keys(b.pending))
		clear(b.pending)
		b.mu.Unlock()
		// An error means that the others find out by polling; whoever uses the
		// database next meets the same error and reports it.
		pool.NewRaw("SELECT pg_notify(?, ? || topic) FROM unnest(string_to_array(?, ' ')) AS topic",
			channel, b.self+" ", strings.Join(topics, " ")).Exec(ctx)
	}
}

// hear listens until ctx ends, reconnecting each second when the server is away.
func (b *bell) hear(ctx context.Context, cfg *pgx.ConnConfig) {
	for ctx.Err() == nil {
		b.hearOnce(ctx, cfg)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (b *bell) hearOnce(ctx context.Context, cfg *pgx.ConnConfig) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	b.wakeEveryone() // of what was said while nobody listened
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return
		}
		b.heard(n)
	}
}

func (b *bell) heard(n *pgconn.Notification) {
	sender, topic, _ := strings.Cut(n.Payload, " ")
	if sender == b.self {
		return // those here were woken by ring
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	wakeAll(b.waiters[topic])
}

func (b *bell) wakeEveryone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, waiters := range b.waiters {
		wakeAll(waiters)
	}
}
