package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/pack"
)

// runPack packs a chunk. Whoever takes a chunk raises its epoch, and only the
// latest epoch writes: a worker that was taken for dead changes nothing.
func (s *Service) runPack(ctx context.Context, a chunkArgs) error {
	c, err := rowOfChunk(ctx, s.db.Read(), a.Chunk)
	if err != nil {
		return err
	}
	leave, err := s.enter(s.chunkDir(c))
	if err != nil {
		return err
	}
	defer leave()
	p, mine, err := s.takeChunk(ctx, &c)
	if err != nil {
		return s.settleChunk(ctx, c, err)
	}
	if !mine {
		if c.State == ChunkPacked || c.State == ChunkRemoved || p.State == Removed {
			return s.clearChunk(c)
		}
		return nil
	}
	m := &meter{s: s, chunk: c, waits: s.newTrouble(false)}
	err = s.while(ctx, m.waits, m.look, func(ctx context.Context) error { return s.packChunk(ctx, p, c, m) })
	switch {
	case err == nil:
		return s.clearChunk(c)
	case errors.Is(err, errRest):
		return s.giveBack(context.WithoutCancel(ctx), c, m)
	case ctx.Err() != nil || isLater(err): // the process stops; the next one goes on
		return err
	}
	return s.settleChunk(ctx, c, err)
}

func (s *Service) chunkDir(c chunkRow) string {
	return s.workDir(c.PreparationID, "chunk-"+strconv.FormatInt(c.ID, 10))
}

// takeChunk makes a chunk this worker's, if it is to be packed now.
func (s *Service) takeChunk(ctx context.Context, c *chunkRow) (p preparationRow, mine bool, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if p, err = rowOfPreparation(ctx, tx, c.PreparationID); err != nil {
			return err
		}
		if *c, err = rowOfChunk(ctx, tx, c.ID); err != nil {
			return err
		}
		wanted := c.State == ChunkWaiting || c.State == ChunkPacking || c.State == ChunkFailed
		if mine = wanted && p.State.works() && due(p, *c); !mine {
			return nil
		}
		now := s.now()
		return c.update(ctx, tx, []ChunkState{c.State}, c.Epoch, now,
			"state = ?, epoch = epoch + 1, worker = ?, reason = '', next_attempt_at = NULL, started_at = ?, base_bytes = done_bytes",
			ChunkPacking, s.settings.Worker, now)
	})
	return p, mine, err
}

// meter watches over a chunk that is being packed: whether it is still wanted,
// and how far it is.
type meter struct {
	s           *Service
	chunk       chunkRow
	waits       *trouble
	files, done atomic.Int64
	told        int64
	at          time.Time
}

func (m *meter) progress(entries, bytes int64) {
	m.files.Store(entries)
	m.done.Store(bytes)
}

// look writes the progress down and reports whether to go on.
func (m *meter) look(ctx context.Context) (bool, error) {
	c, err := rowOfChunk(ctx, m.s.db.Read(), m.chunk.ID)
	if err != nil {
		return true, err
	}
	p, err := rowOfPreparation(ctx, m.s.db.Read(), c.PreparationID)
	if err != nil {
		return true, err
	}
	if c.State != ChunkPacking || c.Epoch != m.chunk.Epoch || !p.State.works() {
		return false, nil
	}
	if err := m.s.tellChunk(ctx, c, m.waits); err != nil {
		return true, err
	}
	now := m.s.now()
	if done := m.done.Load(); done != m.told && now.Sub(m.at) >= m.s.settings.Interval {
		m.told, m.at = done, now
		return true, quiet(m.write(ctx, ChunkPacking))
	}
	return true, nil
}

func (m *meter) write(ctx context.Context, to ChunkState) error {
	return m.s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		c := m.chunk
		set, args := "state = ?, done_files = ?, done_bytes = ?", []any{to, min(m.files.Load(), c.Files), min(m.done.Load(), c.Bytes)}
		if to == ChunkWaiting {
			set += ", reason = '', next_attempt_at = NULL"
		}
		return c.update(ctx, tx, []ChunkState{ChunkPacking}, m.chunk.Epoch, m.s.now(), set, args...)
	})
}

// giveBack lets go of a chunk whose preparation rests. One that rests itself,
// or is another's now, is not this worker's to change.
func (s *Service) giveBack(ctx context.Context, c chunkRow, m *meter) error {
	now, err := rowOfChunk(ctx, s.db.Read(), c.ID)
	if err != nil {
		return err
	}
	p, err := rowOfPreparation(ctx, s.db.Read(), c.PreparationID)
	switch {
	case err != nil:
		return err
	case now.State == ChunkRemoved || p.State == Removed:
		return s.clearChunk(c)
	case now.State != ChunkPacking || now.Epoch != c.Epoch:
		return nil
	}
	return quiet(m.write(ctx, ChunkWaiting))
}

// settleChunk writes down why a chunk is not packed, and when it is tried
// again.
func (s *Service) settleChunk(ctx context.Context, c chunkRow, reason error) error {
	now, err := rowOfChunk(ctx, s.db.Read(), c.ID)
	if err != nil {
		return err
	}
	if now.State != ChunkPacking || now.Epoch != c.Epoch {
		if fault.Is(reason, fault.Conflict) {
			return nil // whoever changed it knows better
		}
		return reason
	}
	n := c.Attempt + 1
	final := !fault.KindOf(reason).Retry() || n >= attempts
	pause := s.pauseAfter(n)
	if err := s.chunkFailed(ctx, c, reason, n, pause, final); err != nil || final {
		return quiet(err)
	}
	return job.Later(pause)
}

func (s *Service) chunkFailed(ctx context.Context, c chunkRow, reason error, n int64, pause time.Duration, final bool) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		var next *time.Time
		p := preparationRow{ID: c.PreparationID}
		if final {
			why := fault.Wrap(reason, "chunk %d", c.Ordinal)
			if err := p.update(ctx, tx, []State{Active, Failed}, now, "state = ?, reason = ?, fault = ?", Failed, cleanReason(why), kindOf(why)); err != nil {
				return err
			}
			if err := announce(ctx, tx, p, "failed"); err != nil {
				return err
			}
		} else {
			at := db.Now(now.Add(pause))
			next = &at
		}
		states := []ChunkState{ChunkWaiting, ChunkPacking, ChunkFailed}
		err := c.update(ctx, tx, states, c.Epoch, now, "state = ?, reason = ?, fault = ?, attempt = ?, next_attempt_at = ?",
			ChunkFailed, cleanReason(reason), kindOf(reason), n, next)
		if err != nil {
			return err
		}
		return announceChunk(ctx, tx, c)
	})
}

// deadPack ends a chunk whose job will not be tried again.
func (s *Service) deadPack(ctx context.Context, a chunkArgs, reason error) error {
	c, err := rowOfChunk(ctx, s.db.Read(), a.Chunk)
	if err != nil {
		return err
	}
	return quiet(s.chunkFailed(ctx, c, reason, c.Attempt+1, 0, true))
}

// clearChunk removes what was left on this machine of a chunk that is over.
func (s *Service) clearChunk(c chunkRow) error {
	dirs, err := filepath.Glob(filepath.Join(s.chunkDir(c), "[0-9]*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := pack.Sweep(dir); err != nil && !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return os.RemoveAll(s.chunkDir(c))
}
