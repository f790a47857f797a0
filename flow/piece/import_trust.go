package piece

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/pack"
)

// How far a node apart is believed. Its index is complete before slots of
// 127 KiB are chosen, by numbers it cannot guess, in which the node computes the
// root and the sections itself: all of 512, which are 64 MiB, and of more one in
// a hundred besides. Of w wrong slots in n, all are missed with less than
// (1-w/n)^samples: with 1 % of them wrong in 0.6 % of cases at most, with 0.1 %
// of a piece of 32 GiB in 4 %. A single slot of a large CAR passes in 99 of 100
// cases; then its deals fail, since providers compute the commitment, too, and
// nothing wrong is served, since blocks are hashed before. Whoever is caught once
// is refused, and all that stands on its word is computed again.
const (
	sampledSlots = 512
	sampledShare = 100 // one of so many
)

// samplesOf is how many of the slots of a CAR are looked at.
func samplesOf(slots int) int { return min(slots, sampledSlots+slots/sampledShare) }

// lie is where an index from outside is not that of the bytes.
type lie struct {
	at     int64 // byte of the CAR
	reason string
}

// Error implements error.
func (l *lie) Error() string { return l.reason }

func lieAt(at int64, format string, args ...any) error {
	return &lie{at, fmt.Sprintf(format, args...)}
}

// compare holds an index to a CAR; it returns the root that was found, or a lie;
// an index that cannot be read on is fault.Invalid.
func compare(random io.Reader, im Import, x *pack.Index, tree *commp.Tree, car theCAR) (cid.Cid, error) {
	if im.found.at != car.at || x.CARSize() != car.size || tree.RawSize() != car.size {
		return cid.Undef, lieAt(0, "the CAR has %d bytes from byte %d, its index %d from %d", car.size, car.at, x.CARSize(), im.found.at)
	}
	head := make([]byte, min(int64(len(x.Header())), car.size))
	if _, err := car.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return cid.Undef, err
	}
	if !bytes.Equal(head, x.Header()) {
		return cid.Undef, lieAt(0, "its index is that of another CAR")
	}
	root, err := rootIn(x, im.found.root)
	if errors.Is(err, errNoSuchRoot) {
		return root, lieAt(0, "%v", err)
	}
	if err == nil && im.Root != "" && root.String() != im.Root {
		err = lieAt(0, "root %s is wanted, it says %s", im.Root, root)
	}
	if err != nil {
		return root, err
	}
	own := commp.NewTree(car.size)
	slots, err := chooseSlots(random, tree.Slots())
	if err != nil {
		return root, err
	}
	for _, slot := range slots {
		if err := compareSlot(x, tree, own, car, slot); err != nil {
			return root, err
		}
	}
	return root, nil
}

// chooseSlots picks slots in their order, each as likely as any other.
func chooseSlots(random io.Reader, slots int) ([]int, error) {
	random = bufio.NewReader(random)
	left := samplesOf(slots)
	picked := make([]int, 0, left)
	var number [8]byte
	for slot := range slots {
		if _, err := io.ReadFull(random, number[:]); err != nil {
			return nil, fault.Wrap(err, "choose the slots to compare")
		}
		// Of 64 bits a remainder of at most 2^20 is as good as even.
		if binary.LittleEndian.Uint64(number[:])%uint64(slots-slot) < uint64(left) {
			picked, left = append(picked, slot), left-1
		}
	}
	return picked, nil
}

// compareSlot looks at the root of a slot, and at the sections that begin in it.
func compareSlot(x *pack.Index, tree, own *commp.Tree, car theCAR, slot int) error {
	off := int64(slot) * commp.SlotRaw
	raw := make([]byte, min(commp.SlotRaw, car.size-off))
	if n, err := car.ReadAt(raw, off); n < len(raw) {
		return err
	}
	if err := own.SetAt(off, raw); err != nil {
		return fault.Mark(fault.Internal, err)
	}
	got, _ := own.Root(slot)
	if want, has := tree.Root(slot); !has || got != want {
		return lieAt(off, "bytes %d to %d of the CAR are not those its index was made of", off, off+int64(len(raw)))
	}
	i, err := x.Covering(off)
	if err != nil {
		return fault.Mark(fault.Invalid, err)
	}
	for i = max(i, 0); i < x.Records(); i++ {
		r, err := x.At(i)
		if err != nil {
			return fault.Mark(fault.Invalid, err)
		}
		if r.Offset >= off+int64(len(raw)) {
			break
		}
		next := x.CARSize()
		if i+1 < x.Records() {
			after, err := x.At(i + 1)
			if err != nil {
				return fault.Mark(fault.Invalid, err)
			}
			next = after.Offset
		}
		if err := compareSection(car, r, next); err != nil {
			return err
		}
	}
	return nil
}

// compareSection looks at one section, behind which the next begins.
func compareSection(car theCAR, r pack.Record, next int64) error {
	if r.Section() != next-r.Offset || r.From != pack.FromSource || r.Position != next-int64(r.Size) {
		return lieAt(r.Offset, "the section at byte %d of the CAR does not end at %d", r.Offset, next)
	}
	b := make([]byte, next-r.Offset)
	if n, err := car.ReadAt(b, r.Offset); n < len(b) {
		return err
	}
	head := r.AppendHead(nil)
	if !bytes.HasPrefix(b, head) || !r.Is(b[len(head):]) {
		return lieAt(r.Offset, "the block at byte %d of the CAR is not that of its index", r.Offset)
	}
	return nil
}

// caught refuses the token that a lie is of: the one whose part it is in, else
// the one that handed the index in. The import waits again without all that was
// kept of it, and what else stands on that token's word is computed again.
func (s *Service) caught(ctx context.Context, im Import, l *lie) error {
	by := im.found.by
	parts, err := importParts(ctx, s.db.Read(), im.ID)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if l.at < p.Reaches {
			if p.TokenID != 0 {
				by = p.TokenID
			}
			break
		}
	}
	reason := fmt.Sprintf("import %d of %s: %s", im.ID, im.Place, l.reason)
	s.log.WarnContext(ctx, "a worker's result is wrong; its token is refused, its other results are computed again", "token", by, "reason", reason)
	doubtful, err := foundBy(ctx, s.db.Read(), im.Project, by)
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		im.State, im.Attempts, im.NextAttempt, im.found = ImportWaiting, 0, now, found{}
		im.Reason = "a worker's result was wrong: " + l.reason
		if err := saveImport(ctx, tx, im, now); err != nil {
			return err
		}
		if err := deleteImportParts(ctx, tx, im.ID); err != nil {
			return err
		}
		if err := insertLiar(ctx, tx, im.Project, by, reason, now); err != nil {
			return err
		}
		for _, id := range doubtful {
			if err := job.Enqueue(ctx, s.jobs, tx, recheckKind, importArgs{id}); err != nil {
				return err
			}
		}
		if err := job.Enqueue(ctx, s.jobs, tx, importKind, importArgs{im.ID}); err != nil {
			return err
		}
		return tellRefused(ctx, tx, now, im, by, reason)
	})
	if err != nil {
		return err
	}
	if err := s.forget(context.WithoutCancel(ctx), im.ID, 0); err != nil {
		s.log.WarnContext(ctx, "what a worker kept is not removed", "import", im.ID, "err", err)
	}
	return fault.Wrap(errCaught, "token %d: %s", by, reason)
}

// errCaught is what a token hears when it is refused.
var errCaught = fault.New(fault.Conflict, "what it handed in is not so; it is refused from now on")

// tellRefused appends the event of a token that is refused.
func tellRefused(ctx context.Context, tx *db.Tx, now time.Time, im Import, token int64, reason string) error {
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: "import.refused", Project: im.Project, Subject: fmt.Sprintf("token/%d", token),
		Data: event.JSON(importFact{ID: im.ID, Place: im.Place, Reason: reason}),
	})
}

var recheckKind = job.Kind[importArgs]{Name: "piece.recheck", Queue: job.Hash, Timeout: 48 * time.Hour, Attempts: 5, Unique: true}

// runRecheck computes again what a refused token had found. A piece that is not
// what its CID says is not served any more, and its CAR is imported again.
func (s *Service) runRecheck(ctx context.Context, a importArgs) error {
	im, err := importByID(ctx, s.db.Read(), 0, a.Import)
	if err != nil || im.State != ImportDone || im.found.by == 0 {
		return err
	}
	p, err := pieceByID(ctx, s.db.Read(), im.Project, im.Piece)
	if err != nil {
		return err
	}
	bad, err := s.verify(ctx, p, nil, nil) // by the index, which is what is doubted
	if err != nil {
		return err
	}
	if len(bad) == 0 {
		return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return vouch(ctx, tx, im, s.now()) })
	}
	reason := fmt.Sprintf("it was computed by a worker that is refused, and is wrong in %d places, the first at byte %d", len(bad), bad[0].Offset)
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := markWrong(ctx, tx, p.ID, reason); err != nil {
			return err
		}
		if err := reopenImport(ctx, tx, im, fmt.Sprintf("piece %s: %s", p.CID, reason), now); err != nil && !fault.Is(err, fault.Conflict) {
			return err // else it is being imported again already
		}
		if err := job.Enqueue(ctx, s.jobs, tx, importKind, importArgs{im.ID}); err != nil {
			return err
		}
		return event.Append(ctx, tx, event.Event{
			At: now, Kind: "piece.wrong", Project: p.Project, Subject: fmt.Sprintf("piece/%d", p.ID),
			Data: event.JSON(pieceFact{ID: p.ID, CID: p.CID, Root: p.Root, CARSize: p.CARSize, PaddedSize: p.PaddedSize}),
		})
	})
	if err != nil {
		return err
	}
	s.log.WarnContext(ctx, "piece is wrong", "piece", p.CID, "reason", reason)
	return s.blobs.Delete(ctx, indexKey(p.CID))
}
