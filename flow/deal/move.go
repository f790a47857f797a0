package deal

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/provider"
)

// move takes a deal to a state, and tells it. What ends a deal, or makes it
// count, has the piece looked at again.
func (s *Service) move(ctx context.Context, tx *db.Tx, d *Deal, to State, o Observation) error {
	from := d.State
	if from != to && !may(from, to) {
		return fault.New(fault.Internal, "deal %s: cannot go from %s to %s", d.UUID, from, to)
	}
	d.State, d.Reason, d.UpdatedAt = to, o.Reason, s.now()
	if to != Sending {
		d.request, d.sealed = nil, false
	}
	if !to.Live() {
		d.NextCheck = nil
	}
	if !to.Live() || to == Active && from != Active {
		// Before the deal, in the order in which deals are made: two
		// transactions that wait for each other help nobody.
		if err := wakeTarget(ctx, tx, d.Piece, d.UpdatedAt); err != nil {
			return err
		}
	}
	if err := saveDeal(ctx, tx, *d, from); err != nil {
		return err
	}
	o.From, o.To = from, to
	return s.tell(ctx, tx, *d, o)
}

// dealFact is the data of a deal's events.
type dealFact struct {
	ID       int64  `json:"id"`
	UUID     string `json:"uuid"`
	Policy   int64  `json:"policy"`
	Piece    int64  `json:"piece"`
	PieceCID string `json:"piece_cid"`
	Provider string `json:"provider"`
	DealID   int64  `json:"deal_id,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// tell records how a deal came to its state; a new state is an event too.
func (s *Service) tell(ctx context.Context, tx *db.Tx, d Deal, o Observation) error {
	o.At = d.UpdatedAt
	if err := insertObservation(ctx, tx, d.ID, o); err != nil || o.From == o.To {
		return err
	}
	return event.Append(ctx, tx, event.Event{
		At: o.At, Kind: "deal." + string(d.State), Project: d.Project, Subject: "deal/" + strconv.FormatInt(d.ID, 10),
		Data: event.JSON(dealFact{d.ID, d.UUID, d.Policy, d.Piece, d.PieceCID, d.Provider, d.DealID, o.Reason}),
	})
}

// ending says how a deal ends.
type ending struct {
	state   State
	source  Source
	reason  string
	proof   any  // evidence, or nil
	blame   bool // it is the provider's doing
	waiting bool // the provider is not offered the piece again at once
}

// end takes a deal to its end, and remembers whose doing it was.
func (s *Service) end(ctx context.Context, d Deal, e ending) error {
	p, err := s.providers.Get(ctx, d.Provider)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	e, fetch := outsideFault(d, e)
	o := Observation{Source: e.source, Reason: e.reason, Evidence: evidence(e.proof)}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := s.move(ctx, tx, &d, e.state, o); err != nil {
			return err
		}
		if e.waiting {
			if err := s.backOff(ctx, tx, d, e.reason, fetch); err != nil {
				return err
			}
		}
		if !e.blame || p.ID == 0 {
			return nil
		}
		return s.providers.Observe(ctx, tx, provider.Observation{
			Provider: p.ID, Kind: "deal", Code: string(e.state), Reason: e.reason, At: d.UpdatedAt,
		})
	})
	return fault.Wrap(err, "end deal %s as %s", d.UUID, e.state)
}

// evidence is what was seen, as it is kept.
func evidence(proof any) json.RawMessage {
	if proof == nil {
		return nil
	}
	return event.JSON(proof)
}

// backOff keeps a piece from being offered to a provider for a time that
// doubles with each failure, and is drawn a little apart from that of others.
// Where fetch names a place outside that had no piece, others' failures there
// count, too.
func (s *Service) backOff(ctx context.Context, tx *db.Tx, d Deal, reason, fetch string) error {
	n, err := failuresAt(ctx, tx, d.Piece, d.Provider)
	if err != nil {
		return err
	}
	if fetch != "" {
		all, err := fetchFailures(ctx, tx, d.Piece, fetch, d.UpdatedAt)
		if err != nil {
			return err
		}
		n = max(n, all)
	}
	var draw [8]byte
	if _, err := io.ReadFull(s.random, draw[:]); err != nil {
		return fault.Wrap(err, "draw a wait")
	}
	wait := waitAfter(s.settings.Backoff, n+1, binary.LittleEndian.Uint64(draw[:]))
	return saveAttempt(ctx, tx, attempt{
		PieceID: d.Piece, Provider: d.Provider, Failures: n + 1, NextAttempt: db.Now(d.UpdatedAt.Add(wait)),
		Reason: fmt.Sprintf("%s: %s", d.State, reason), FetchURL: fetch,
	})
}
