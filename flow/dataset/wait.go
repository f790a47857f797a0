package dataset

import (
	"context"
	"sync"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/source"
)

// trouble is what a run waits for, from the sources who know to the rows that
// tell. Sources only leave word: the one goroutine that looks after the run
// writes.
type trouble struct {
	mu    sync.Mutex
	now   source.Wait
	said  source.Wait // as the row has it; zero is nothing
	stale bool        // the row may still tell of a run before
	nudge chan struct{}
	clock func() time.Time
}

func (s *Service) newTrouble(stale bool) *trouble {
	return &trouble{stale: stale, nudge: make(chan struct{}, 1), clock: s.clock}
}

// shortWait is what is not worth a write of its own once people know that there
// is something to wait for.
const shortWait = time.Second

// note is what sources call.
func (t *trouble) note(w source.Wait) {
	t.mu.Lock()
	t.now = w
	tell := w.Reason != nil && (t.said.Reason == nil || w.Next.Sub(t.clock()) >= shortWait)
	t.mu.Unlock()
	if tell {
		select {
		case t.nudge <- struct{}{}:
		default:
		}
	}
}

// news returns what the row should say, if it does not.
func (t *trouble) news() (w source.Wait, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == t.said && !t.stale {
		return t.now, false
	}
	t.said, t.stale = t.now, false
	return t.now, true
}

// waitSet is the change that has a row say what is waited for, or nothing.
const waitSet = "reason = ?, fault = ?, next_attempt_at = ?"

func waitArgs(w source.Wait) []any {
	if w.Reason == nil {
		return []any{"", "", nil}
	}
	return []any{cleanText(w.String(), maxReason), kindOf(w.Reason), db.Now(w.Next)}
}

// tellStage has a preparation say what its stage waits for.
func (s *Service) tellStage(ctx context.Context, p preparationRow, t *trouble) error {
	return s.tellWait(ctx, t, func(ctx context.Context, tx *db.Tx, args []any) error {
		return p.update(ctx, tx, []State{Active, Failed}, s.now(), waitSet, args...)
	})
}

// tellChunk has a chunk say what its worker waits for.
func (s *Service) tellChunk(ctx context.Context, c chunkRow, t *trouble) error {
	return s.tellWait(ctx, t, func(ctx context.Context, tx *db.Tx, args []any) error {
		return c.update(ctx, tx, []ChunkState{ChunkPacking}, c.Epoch, s.now(), waitSet, args...)
	})
}

// tellWait has a row say what is waited for, if that is news.
func (s *Service) tellWait(ctx context.Context, t *trouble, say func(ctx context.Context, tx *db.Tx, args []any) error) error {
	w, fresh := t.news()
	if !fresh {
		return nil
	}
	return quiet(s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		tx.Wake(topic)
		return say(ctx, tx, waitArgs(w))
	}))
}
