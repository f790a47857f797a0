package retrieval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// source is a provider as a place to fetch from.
type source struct {
	actor  string
	url    string
	pieces []piece.Piece // of the plan, that it holds
	record record
	spent  bool // it was wrong, slow or away: not asked again
}

// fetching is one fetch under way.
type fetching struct {
	*Service
	req    Request
	order  *order
	visit  func(blocks.Block) error
	last   Retrieval
	failed []string // what every attempt came to
}

func (s *Service) fetch(ctx context.Context, req Request, visit func(blocks.Block) error) (Retrieval, error) {
	plan, err := s.pieces.Plan(ctx, req.Plan)
	if err != nil {
		return Retrieval{}, err
	}
	if plan.Project != req.Project {
		return Retrieval{}, fault.New(fault.NotFound, "plan %d: this project has none with that id", req.Plan)
	}
	sources, err := s.sources(ctx, req, plan)
	if err != nil {
		return Retrieval{}, err
	}
	f := &fetching{Service: s, req: req, order: newOrder(req.Root), visit: visit}
	done, err := f.askAll(ctx, sources)
	if err != nil || done {
		return f.last, err
	}
	return f.last, fault.New(fault.Unavailable, "root %s: no provider delivered it: %s", req.Root, strings.Join(f.failed, "; "))
}

// sources returns who can be asked, the best first: fewer recent failures, then
// the shorter time to the first byte. Who has no record yet comes first.
func (s *Service) sources(ctx context.Context, req Request, plan piece.Plan) ([]*source, error) {
	var found []*source
	for _, p := range plan.Pieces {
		actors, err := s.deals.Holders(ctx, req.Project, p.ID)
		if err != nil {
			return nil, fault.Wrap(err, "who holds piece %s", p.CID)
		}
		for _, actor := range actors {
			i := slices.IndexFunc(found, func(f *source) bool { return f.actor == actor })
			if i < 0 {
				i = len(found)
				found = append(found, &source{actor: actor})
			}
			if !slices.ContainsFunc(found[i].pieces, func(held piece.Piece) bool { return held.ID == p.ID }) {
				found[i].pieces = append(found[i].pieces, p)
			}
		}
	}
	if req.Provider != "" {
		found = slices.DeleteFunc(found, func(f *source) bool { return f.actor != req.Provider })
		if len(found) == 0 { // no deal of ours; it may have the bytes all the same
			found = []*source{{actor: req.Provider, pieces: plan.Pieces}}
		}
	}
	if len(found) == 0 {
		return nil, fault.New(fault.Conflict, "root %s: no provider has an active deal about it yet", req.Root)
	}
	return s.reachable(ctx, found)
}

// reachable keeps the sources that have an address, in the order to ask them.
func (s *Service) reachable(ctx context.Context, found []*source) (out []*source, err error) {
	var without []string
	for _, f := range found {
		if f.url, err = s.providers.Endpoint(ctx, f.actor); err != nil {
			return nil, fault.Wrap(err, "address of provider %s", f.actor)
		}
		if f.url == "" {
			without = append(without, f.actor)
			continue
		}
		f.url = strings.TrimRight(f.url, "/")
		if f.record, err = recordOf(ctx, s.db.Read(), f.actor); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Unavailable, "provider %s: serves no retrievals over HTTP", strings.Join(without, ", "))
	}
	slices.SortStableFunc(out, func(a, b *source) int {
		return cmp.Or(cmp.Compare(a.record.ended-a.record.ok, b.record.ended-b.record.ok), cmp.Compare(a.record.ttfb, b.record.ttfb))
	})
	return out, nil
}

// askAll asks one source after the other until the DAG is complete. A DAG that
// was split over pieces may need several of them in turn.
func (f *fetching) askAll(ctx context.Context, sources []*source) (done bool, err error) {
	for _, src := range sources {
		f.order.begin()
		if done, err = f.ask(ctx, src, CAR); err != nil || done {
			return done, err
		}
		if done, err = f.ask(ctx, src, Piece); err != nil || done {
			return done, err
		}
	}
	for moved := true; moved; {
		moved = false
		for _, src := range sources {
			before := len(f.order.seen)
			if done, err = f.ask(ctx, src, Piece); err != nil || done {
				return done, err
			}
			moved = moved || len(f.order.seen) > before
		}
	}
	return false, nil
}

// ask makes one attempt, if it makes sense. The error is one that ends the
// fetch: of the caller, or of our own house.
func (f *fetching) ask(ctx context.Context, src *source, m Method) (done bool, err error) {
	if src.spent {
		return false, nil
	}
	a := &attempt{fetching: f, source: src, method: m}
	if m == Piece {
		here, err := a.holdsNext(ctx)
		if err != nil || !here {
			return false, err
		}
	}
	if err := a.begin(ctx); err != nil {
		return false, err
	}
	err = a.run(ctx)
	var broken *miss
	if err != nil && !errors.As(err, &broken) {
		return false, errors.Join(err, a.end(ctx, Failed, "", "ended on our side: "+err.Error()))
	}
	if broken == nil {
		return true, a.end(ctx, OK, CodeOK, "")
	}
	if broken.code == codeElsewhere {
		return false, a.end(ctx, OK, CodeOK, broken.Error())
	}
	src.spent = broken.code != CodeRefused && broken.code != CodeBroken
	f.failed = append(f.failed, fmt.Sprintf("%s (%s): %s", src.actor, m, broken))
	return false, a.end(ctx, Failed, broken.code, broken.Error())
}

// run does what the method says.
func (a *attempt) run(ctx context.Context) error {
	if a.method == CAR {
		return a.readCAR(ctx)
	}
	return a.readPieces(ctx)
}

// deliver hands a block on that was verified, unless it was before.
func (a *attempt) deliver(b blocks.Block, first bool) error {
	a.blocks.Add(1)
	if a.bytes.Add(int64(len(b.RawData()))) > a.settings.MaxBytes {
		return missed(CodeLimit, "more than %d bytes", a.settings.MaxBytes)
	}
	if !first {
		return nil
	}
	return a.visit(b)
}
