package dataset

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// revive is the change that gives a chunk a fresh start.
const revive = "state = ?, reason = '', attempt = 0, next_attempt_at = NULL"

// needs refuses a verb for a chunk that is in none of the states it is for.
func (r chunkRow) needs(verb string, states ...ChunkState) error {
	if slices.Contains(states, r.State) {
		return nil
	}
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return fault.New(fault.Conflict, "chunk %d: is %s; what is %s can be %s", r.Ordinal, r.State, strings.Join(words, ", "), verb)
}

// Chunk returns a chunk of the project.
func (s *Service) Chunk(ctx context.Context, project, id int64) (Chunk, error) {
	row, err := chunkByID(ctx, s.db.Read(), project, id)
	return row.chunk(), err
}

// Chunks returns a page of a preparation's chunks by their ordinals, those
// above after.
func (s *Service) Chunks(ctx context.Context, project, preparation, after int64, limit int) ([]Chunk, error) {
	if _, err := preparationByID(ctx, s.db.Read(), project, preparation); err != nil {
		return nil, err
	}
	rows, err := chunksAfter(ctx, s.db.Read(), preparation, after, pageLimit(limit))
	return mapped(rows, chunkRow.chunk), err
}

// chunks iterates over the chunks of a preparation, in order.
func (s *Service) chunks(ctx context.Context, preparation int64) iter.Seq2[chunkRow, error] {
	return func(yield func(chunkRow, error) bool) {
		for after := int64(0); ; {
			page, err := chunksAfter(ctx, s.db.Read(), preparation, after, sweepPage)
			if err != nil {
				yield(chunkRow{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
				after = c.Ordinal
			}
			if len(page) < sweepPage {
				return
			}
		}
	}
}

// PauseChunk has one chunk rest; what it has done is kept.
func (s *Service) PauseChunk(ctx context.Context, project, id int64) (Chunk, error) {
	return s.changeChunk(ctx, project, id, func(ctx context.Context, tx *db.Tx, _ *preparationRow, c *chunkRow) error {
		if err := c.needs("paused", openStates()...); err != nil {
			return err
		}
		return c.update(ctx, tx, openStates(), -1, s.now(), revive, ChunkPaused)
	})
}

// ResumeChunk has a paused chunk go on.
func (s *Service) ResumeChunk(ctx context.Context, project, id int64) (Chunk, error) {
	return s.again(ctx, project, id, ChunkPaused)
}

// RetryChunk has a failed chunk tried again now, as if it were for the first
// time.
func (s *Service) RetryChunk(ctx context.Context, project, id int64) (Chunk, error) {
	return s.again(ctx, project, id, ChunkFailed)
}

func (s *Service) again(ctx context.Context, project, id int64, from ChunkState) (Chunk, error) {
	return s.changeChunk(ctx, project, id, func(ctx context.Context, tx *db.Tx, p *preparationRow, c *chunkRow) error {
		if err := c.needs(map[ChunkState]string{ChunkPaused: "resumed", ChunkFailed: "tried again"}[from], from); err != nil {
			return err
		}
		if err := c.update(ctx, tx, []ChunkState{from}, -1, s.now(), revive, ChunkWaiting); err != nil {
			return err
		}
		if err := s.reactivate(ctx, tx, p); err != nil {
			return err
		}
		if p.State != Active || !due(*p, *c) {
			return nil
		}
		return job.Enqueue(ctx, s.jobs, tx, packKind, chunkArgs{c.ID})
	})
}

// reactivate takes back that a preparation has failed, after somebody has done
// something about it.
func (s *Service) reactivate(ctx context.Context, tx *db.Tx, p *preparationRow) error {
	if p.State != Failed {
		return nil
	}
	return p.update(ctx, tx, []State{Failed}, s.now(), "state = ?, reason = '', attempt = 0, next_attempt_at = NULL", Active)
}

// RemoveChunk leaves out the files of one chunk: they are told as skipped, a
// file that it holds a part of as a whole. The last chunk is a Conflict, since
// it holds what is above all others.
func (s *Service) RemoveChunk(ctx context.Context, project, id int64) (Chunk, error) {
	return s.changeChunk(ctx, project, id, func(ctx context.Context, tx *db.Tx, p *preparationRow, c *chunkRow) error {
		if c.Last || p.Stage == Scanning && c.Ordinal == p.Chunks {
			return fault.New(fault.Conflict, "chunk %d: is the last one and holds what is above all others; remove the dataset instead", c.Ordinal)
		}
		if err := c.needs("removed", openStates()...); err != nil {
			return err
		}
		now := s.now()
		if err := c.update(ctx, tx, openStates(), -1, now, "state = ?, finished_at = ?, skipped = files", ChunkRemoved, now); err != nil {
			return err
		}
		if err := s.reactivate(ctx, tx, p); err != nil {
			return err
		}
		return s.oneDone(ctx, tx, p, c.Files)
	})
}

// oneDone counts a chunk that is over and sees what that makes due.
func (s *Service) oneDone(ctx context.Context, tx *db.Tx, p *preparationRow, skipped int64) error {
	states := []State{Active, Failed, Paused}
	if err := p.update(ctx, tx, states, s.now(), "chunks_done = chunks_done + 1, skipped = skipped + ?", skipped); err != nil {
		return err
	}
	return s.advance(ctx, tx, p)
}

// advance starts what the end of the scan or of a chunk has made due. The
// caller has changed the preparation in tx, which orders those who do.
func (s *Service) advance(ctx context.Context, tx *db.Tx, p *preparationRow) error {
	if p.Stage != Packing {
		return nil
	}
	if p.ChunksDone == p.Chunks {
		if err := p.update(ctx, tx, []State{Active, Failed, Paused}, s.now(), "stage = ?, state = CASE WHEN state = 'failed' THEN 'active' ELSE state END", Indexing); err != nil {
			return err
		}
		if p.State == Paused {
			return nil
		}
		return job.Enqueue(ctx, s.jobs, tx, finishKind, preparationArgs{p.ID})
	}
	if p.ChunksDone < p.Chunks-1 || p.State == Paused {
		return nil
	}
	last, err := chunkByOrdinal(ctx, tx, p.ID, p.Chunks)
	if err != nil || last.State != ChunkWaiting {
		return err
	}
	return job.Enqueue(ctx, s.jobs, tx, packKind, chunkArgs{last.ID})
}

// changeChunk runs a change of one chunk of a preparation that is not over.
func (s *Service) changeChunk(ctx context.Context, project, id int64, fn func(context.Context, *db.Tx, *preparationRow, *chunkRow) error) (Chunk, error) {
	var c chunkRow
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if c, err = chunkByID(ctx, tx, project, id); err != nil {
			return err
		}
		p, err := preparationByID(ctx, tx, project, c.PreparationID)
		if err != nil {
			return err
		}
		if p.State == Complete {
			return fault.New(fault.Conflict, "preparation %d: is complete, and its chunks are what they are", p.ID)
		}
		// Whoever changes a chunk holds its preparation first, so that two who
		// change both cannot wait for each other.
		if err := p.update(ctx, tx, []State{Active, Paused, Failed}, s.now(), "attempt = attempt"); err != nil {
			return err
		}
		before := c.State
		if err := fn(ctx, tx, &p, &c); err != nil || c.State == before {
			return err
		}
		return announceChunk(ctx, tx, c)
	})
	return c.chunk(), err
}

// chunkFact is the data of a chunk's events.
type chunkFact struct {
	ID          int64   `json:"id"`
	Preparation int64   `json:"preparation"`
	Ordinal     int64   `json:"ordinal"`
	Files       int64   `json:"files"`
	Bytes       int64   `json:"bytes"`
	Skipped     int64   `json:"skipped"`
	Pieces      []int64 `json:"pieces,omitempty"`
	Reason      string  `json:"reason,omitempty"`
}

// announceChunk tells the state a chunk has reached.
func announceChunk(ctx context.Context, tx *db.Tx, c chunkRow) error {
	tx.Wake(topic)
	return event.Append(ctx, tx, event.Event{
		At: c.UpdatedAt, Kind: "chunk." + string(c.State), Project: c.ProjectID, Subject: fmt.Sprintf("chunk/%d", c.ID),
		Data: event.JSON(chunkFact{c.ID, c.PreparationID, c.Ordinal, c.Files, c.Bytes, c.Skipped, c.Pieces, c.Reason}),
	})
}
