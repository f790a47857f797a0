package piece

import (
	"context"
	"fmt"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// packArgs name the plan to pack.
type packArgs struct {
	Plan int64 `json:"plan"`
}

var packKind = job.Kind[packArgs]{Name: "piece.pack", Queue: job.Hash, Timeout: 48 * time.Hour, Attempts: 5, Unique: true}

// Handlers returns the work this package does.
func (s *Service) Handlers() []job.Handler {
	return []job.Handler{
		releaseKind.Handle(s.runRelease, s.deadRelease),
		packKind.Handle(s.runPack, s.failPack), importKind.Handle(s.runImport, s.failImport), recheckKind.Handle(s.runRecheck, nil),
	}
}

// runPack packs a plan. Done twice, or again after it died half-way, it ends
// the same.
func (s *Service) runPack(ctx context.Context, a packArgs) error {
	err := s.packPlan(ctx, a.Plan)
	if fault.Is(err, fault.Conflict) {
		// Another run of this job, which was taken for dead, moved the plan. If it
		// is not over, this run has to see it through all the same.
		return fault.Mark(fault.Unavailable, err)
	}
	return err
}

func (s *Service) packPlan(ctx context.Context, id int64) error {
	p, err := s.Plan(ctx, id)
	if err != nil || p.State == Packed || p.State == Failed {
		return err
	}
	if p.State == Planned {
		if err := s.movePlan(ctx, &p, Packing, "", nil); err != nil {
			return err
		}
	}
	pieces, err := s.pack(ctx, p)
	if err != nil {
		return fault.Wrap(err, "pack plan %d (%s)", p.ID, p.Label)
	}
	return s.movePlan(ctx, &p, Packed, "", pieces)
}

// failPack ends a plan that will not be tried again.
func (s *Service) failPack(ctx context.Context, a packArgs, reason error) error {
	p, err := s.Plan(ctx, a.Plan)
	if err != nil || p.State == Packed || p.State == Failed {
		return err
	}
	return s.movePlan(ctx, &p, Failed, reason.Error(), nil)
}

// movePlan writes a plan's new state with the pieces it became, and tells it.
func (s *Service) movePlan(ctx context.Context, p *Plan, to PlanState, reason string, pieces []Piece) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now, from := s.now(), p.State
		if err := movePlan(ctx, tx, p.ID, from, to, reason, now); err != nil {
			return err
		}
		for i := range pieces {
			pieces[i].CreatedAt = now
			if err := insertPart(ctx, tx, p.ID, i+1, &pieces[i]); err != nil {
				return err
			}
			if err := s.holdKept(ctx, tx, pieces[i], p.ID); err != nil {
				return err
			}
			if err := tell(ctx, tx, now, pieces[i], pieceFact{Plan: p.ID}); err != nil {
				return err
			}
		}
		p.State, p.Reason, p.UpdatedAt, p.Pieces = to, reason, now, pieces
		return event.Append(ctx, tx, event.Event{
			At: now, Kind: "plan." + string(to), Project: p.Project, Subject: fmt.Sprintf("plan/%d", p.ID),
			Data: event.JSON(planFact{p.ID, p.Label, len(pieces), reason}),
		})
	})
}

// pieceFact is the data of a piece's events.
type pieceFact struct {
	ID         int64  `json:"id"`
	CID        string `json:"piece_cid"`
	Root       string `json:"root"`
	CARSize    int64  `json:"car_size"`
	PaddedSize int64  `json:"padded_size"`
	Plan       int64  `json:"plan,omitempty"`  // it is a part of
	Label      string `json:"label,omitempty"` // whose it is, of one that was packed elsewhere
}

// planFact is the data of a plan's events.
type planFact struct {
	ID     int64  `json:"id"`
	Label  string `json:"label"`
	Pieces int    `json:"pieces,omitempty"`
	Reason string `json:"reason,omitempty"`
}
