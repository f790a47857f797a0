package dataset

import (
	"context"
	"fmt"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// topic wakes those who work on preparations, to look whether they still may.
const topic = "dataset"

// Start begins a preparation of a dataset: a run over all its sources that
// takes over what an earlier complete one has packed and is unchanged. While
// one is not over, another is a Conflict.
func (s *Service) Start(ctx context.Context, project, dataset int64) (Preparation, error) {
	now := s.now()
	row := preparationRow{ProjectID: project, DatasetID: dataset, State: Active, Stage: Scanning, StartedAt: now, UpdatedAt: now}
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		d, err := datasetByID(ctx, tx, project, dataset)
		if err != nil {
			return err
		}
		sources, err := sourcesOf(ctx, tx, dataset)
		if err != nil {
			return err
		}
		if len(sources) == 0 {
			return fault.New(fault.Conflict, "dataset %q: has no source; add one first", d.Name)
		}
		row.Rules = d.Rules
		if row.Prior, err = priorOf(ctx, tx, dataset, d.Rules); err != nil {
			return err
		}
		if err := insertPreparation(ctx, tx, &row); err != nil {
			return err
		}
		if err := job.Enqueue(ctx, s.jobs, tx, scanKind, preparationArgs{row.ID}); err != nil {
			return err
		}
		return announce(ctx, tx, row, "started")
	})
	return row.preparation(), err
}

// Pause has a preparation rest: what runs is stopped at its next step and kept.
// Pausing one that rests is no error.
func (s *Service) Pause(ctx context.Context, project, id int64) (Preparation, error) {
	return s.change(ctx, project, id, func(ctx context.Context, tx *db.Tx, row *preparationRow) error {
		if row.State == Paused {
			return nil
		}
		if err := row.update(ctx, tx, []State{Active, Failed}, s.now(), "state = ?, reason = '', next_attempt_at = NULL", Paused); err != nil {
			return err
		}
		return announce(ctx, tx, *row, "paused")
	})
}

// Resume has a paused or failed preparation go on where it was, failed chunks
// included. Resuming one that works is no error.
func (s *Service) Resume(ctx context.Context, project, id int64) (Preparation, error) {
	return s.change(ctx, project, id, func(ctx context.Context, tx *db.Tx, row *preparationRow) error {
		err := row.update(ctx, tx, []State{Active, Paused, Failed}, s.now(), "state = ?, reason = '', attempt = 0, next_attempt_at = NULL", Active)
		if err != nil {
			return err
		}
		if err := s.wakeAll(ctx, tx, *row); err != nil {
			return err
		}
		return announce(ctx, tx, *row, "resumed")
	})
}

// wakeAll enqueues whatever is due of a preparation that may work.
func (s *Service) wakeAll(ctx context.Context, tx *db.Tx, p preparationRow) error {
	switch p.Stage {
	case Scanning:
		if err := job.Enqueue(ctx, s.jobs, tx, scanKind, preparationArgs{p.ID}); err != nil {
			return err
		}
	case Indexing:
		return job.Enqueue(ctx, s.jobs, tx, finishKind, preparationArgs{p.ID})
	}
	for after := int64(0); ; {
		page, err := chunksAfter(ctx, tx, p.ID, after, sweepPage, ChunkWaiting, ChunkPacking, ChunkFailed)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.Ordinal
			if c.State == ChunkFailed {
				if err := c.update(ctx, tx, []ChunkState{ChunkFailed}, -1, s.now(), revive, ChunkWaiting); err != nil {
					return err
				}
			}
			if !due(p, c) {
				continue
			}
			if err := job.Enqueue(ctx, s.jobs, tx, packKind, chunkArgs{c.ID}); err != nil {
				return err
			}
		}
		if len(page) < sweepPage {
			return nil
		}
	}
}

// sweepPage is how many rows are taken at a time.
const sweepPage = 500

// due reports whether a chunk may be packed: the last one needs what all others
// became, and which one is last is known when the scan is over.
func due(p preparationRow, c chunkRow) bool {
	if p.Stage == Scanning {
		return c.Ordinal < p.Chunks
	}
	return !c.Last || p.ChunksDone >= p.Chunks-1
}

// Remove ends a preparation for good and deletes what only it needed; with
// cars also the CARs it exported. Pieces stay: deals may be about them.
func (s *Service) Remove(ctx context.Context, project, id int64, cars bool) error {
	row, err := preparationByID(ctx, s.db.Read(), project, id)
	if err != nil {
		return err
	}
	if cars {
		if err := s.removeCARs(ctx, row); err != nil {
			return err
		}
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return s.remove(ctx, tx, &row) })
}

func (s *Service) remove(ctx context.Context, tx *db.Tx, row *preparationRow) error {
	follower, err := followerOf(ctx, tx, row.ID)
	if err != nil {
		return err
	}
	if follower != 0 {
		return fault.New(fault.Conflict, "preparation %d: preparation %d goes on from it; wait until that is complete, or remove it first", row.ID, follower)
	}
	now := s.now()
	if err := row.update(ctx, tx, []State{Active, Paused, Failed, Complete}, now, "state = ?, finished_at = COALESCE(finished_at, ?)", Removed, now); err != nil {
		return err
	}
	if err := job.Enqueue(ctx, s.jobs, tx, removeKind, preparationArgs{row.ID}); err != nil {
		return err
	}
	if err := s.renewed(ctx, tx, row.DatasetID); err != nil {
		return err
	}
	return announce(ctx, tx, *row, "removed")
}

// RemoveDataset ends a dataset with all its preparations, as Remove does. Its
// sources are still read for the pieces that were made of them.
func (s *Service) RemoveDataset(ctx context.Context, project, id int64, cars bool) error {
	d, err := datasetByID(ctx, s.db.Read(), project, id)
	if err != nil {
		return err
	}
	ids, err := idsOfPreparations(ctx, s.db.Read(), id)
	if err != nil {
		return err
	}
	if cars {
		for _, p := range ids {
			row, err := preparationByID(ctx, s.db.Read(), project, p)
			if err == nil {
				err = s.removeCARs(ctx, row)
			}
			if err != nil {
				return err
			}
		}
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := removeDataset(ctx, tx, id, now); err != nil {
			return err
		}
		if err := missing(s.withdraw(ctx, tx, id)); err != nil {
			return err
		}
		if ids, err = idsOfPreparations(ctx, tx, id); err != nil {
			return err
		}
		for _, p := range ids {
			if err := s.remove(ctx, tx, &preparationRow{ID: p}); err != nil {
				return err
			}
		}
		return announceDataset(ctx, tx, d, "removed", now)
	})
}

// Preparation returns a preparation of the project.
func (s *Service) Preparation(ctx context.Context, project, id int64) (Preparation, error) {
	row, err := preparationByID(ctx, s.db.Read(), project, id)
	return row.preparation(), err
}

// Preparations returns a page of the project's preparations, newest first.
func (s *Service) Preparations(ctx context.Context, project int64, f Filter) ([]Preparation, error) {
	return preparations(ctx, s.db.Read(), project, f)
}

// change runs a change of one preparation and wakes whoever works on it.
func (s *Service) change(ctx context.Context, project, id int64, fn func(context.Context, *db.Tx, *preparationRow) error) (Preparation, error) {
	var row preparationRow
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if row, err = preparationByID(ctx, tx, project, id); err != nil {
			return err
		}
		if row.State == Complete {
			return fault.New(fault.Conflict, "preparation %d: is complete; start the dataset again to pack what is new", id)
		}
		return fn(ctx, tx, &row)
	})
	return row.preparation(), err
}

// preparationFact is the data of a preparation's events.
type preparationFact struct {
	ID        int64  `json:"id"`
	Dataset   int64  `json:"dataset"`
	Files     int64  `json:"files"`
	Bytes     int64  `json:"bytes"`
	Skipped   int64  `json:"skipped"`
	Chunks    int64  `json:"chunks"`
	Root      string `json:"root,omitempty"`
	IndexRoot string `json:"index_root,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// announce tells what became of a preparation, to the log and to its workers.
func announce(ctx context.Context, tx *db.Tx, p preparationRow, what string) error {
	tx.Wake(topic)
	return event.Append(ctx, tx, event.Event{
		At: p.UpdatedAt, Kind: "preparation." + what, Project: p.ProjectID, Subject: fmt.Sprintf("preparation/%d", p.ID),
		Data: event.JSON(preparationFact{p.ID, p.DatasetID, p.Files, p.Bytes, p.Skipped, p.Chunks, p.Root, p.IndexRoot, p.Reason}),
	})
}

// datasetFact is the data of a dataset's events.
type datasetFact struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// nameFact is the data of the events of a dataset's name.
type nameFact struct {
	ID       int64  `json:"id"`
	Name     string `json:"ipns"`
	Index    string `json:"index,omitempty"`
	Sequence int64  `json:"sequence"`
}

func announceName(ctx context.Context, tx *db.Tx, n nameRow, what string) error {
	return event.Append(ctx, tx, event.Event{
		At: n.UpdatedAt, Kind: "dataset." + what, Project: n.ProjectID, Subject: fmt.Sprintf("dataset/%d", n.DatasetID),
		Data: event.JSON(nameFact{n.DatasetID, n.Name, n.Target, n.Sequence}),
	})
}

func announceDataset(ctx context.Context, tx *db.Tx, d Dataset, what string, now time.Time) error {
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: "dataset." + what, Project: d.Project, Subject: fmt.Sprintf("dataset/%d", d.ID),
		Data: event.JSON(datasetFact{d.ID, d.Name}),
	})
}
