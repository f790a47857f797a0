package piece

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

const (
	// maxAttempts is how often an import is begun before it has failed.
	maxAttempts = 5
	// lookAgain is how long a job leaves an import to others.
	lookAgain = time.Minute
	// importSlots is a window of a scan, 16 MiB: enough leaves to fill all lanes.
	importSlots = 128
)

// runImport reads a CAR and registers it. The row says who owns it, so that the
// job may run twice, and beside nodes that claim imports from outside.
func (s *Service) runImport(ctx context.Context, a importArgs) error {
	im, err := importByID(ctx, s.db.Read(), 0, a.Import)
	if err != nil {
		return err
	}
	if im.over() { // perhaps by an attempt that was killed before it tidied up
		s.tidy(ctx, im.ID)
		return nil
	}
	if s.settings.ImportsApart && !im.own && !im.Committed {
		return job.Later(lookAgain)
	}
	if wait := max(im.NextAttempt.Sub(s.now()), im.LeaseUntil.Sub(s.now())); wait > 0 {
		return job.Later(wait)
	}
	if err := s.sweep(ctx); err != nil {
		s.log.WarnContext(ctx, "what dead imports left is not removed", "err", err)
	}
	im, err = s.claim(ctx, im.ID, 0, s.settings.Worker)
	if fault.Is(err, fault.Conflict) {
		return job.Later(time.Second)
	}
	if err != nil {
		return err
	}
	return s.settle(ctx, im, s.importOwned(ctx, im))
}

func (s *Service) claim(ctx context.Context, id, token int64, worker string) (im Import, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		now := s.now()
		im, err = claimImport(ctx, tx, id, token, worker, now, now.Add(s.settings.Lease))
		return err
	})
	return im, err
}

// importOwned does an import that this process has claimed.
func (s *Service) importOwned(ctx context.Context, im Import) error {
	if im.Committed {
		return s.complete(ctx, im)
	}
	r, err := s.begin(ctx, &im)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, done, stop := s.attend(ctx, im, r.scan.size)
	defer stop()
	r.scan.progress = done.Store
	if err := r.scan.run(ctx, r.in); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fault.Wrap(err, "import %s", im.Place)
	}
	if err := r.in.check(); err != nil {
		return err
	}
	made, err := s.wanted(r.scan.tree, im.PieceCID, r.scan.padded)
	if err != nil {
		return fault.Wrap(err, "import %s", im.Place)
	}
	if err := s.keepScanned(ctx, made, &r.scan.scanned); err != nil {
		return err
	}
	p := pieceFrom(im, made, r.scan.root, r.scan.spool.Records())
	if im.Copy {
		if err := r.copy.finish(ctx, carKey(p.CID)); err != nil {
			return fault.Wrap(err, "keep the CAR of piece %s", p.CID)
		}
	} else {
		p.standsIn(im, r.scan.at, r.in.size)
	}
	return s.finish(ctx, im, p)
}

// reading is an import that is under way here.
type reading struct {
	scan *scan
	in   *place
	copy *copying // nil where the CAR stays
}

func (r *reading) close() {
	if r.in != nil {
		_ = r.in.Close()
	}
	if r.copy != nil {
		_ = r.copy.Close()
	}
	if r.scan != nil {
		_ = r.scan.Close()
	}
	r.in, r.copy, r.scan = nil, nil, nil
}

// nameCopy names the file that a copy grows in: no two imports, of whichever
// database, share one.
func (s *Service) nameCopy(im *Import) error {
	if !im.Copy || im.work != "" {
		return nil
	}
	var unlike [16]byte
	if _, err := io.ReadFull(s.random, unlike[:]); err != nil {
		return fault.Wrap(err, "name the copy of import %d", im.ID)
	}
	im.work = fmt.Sprintf("import-%d-%x.car", im.ID, unlike)
	return nil
}

// begin opens an import where an earlier attempt left it, here or elsewhere. If
// that cannot be, since its place is another by now or what was kept is not to be
// had, it begins from the beginning, and the reason says so.
func (s *Service) begin(ctx context.Context, im *Import) (*reading, error) {
	parts, err := importParts(ctx, s.db.Read(), im.ID)
	if err != nil {
		return nil, err
	}
	if err := s.nameCopy(im); err != nil {
		return nil, err
	}
	r, err := s.openAt(ctx, *im, parts)
	if fault.Is(err, fault.Conflict) && len(parts) > 0 {
		im.Reason = "started over: " + err.Error()
		if err := s.startOver(ctx, *im); err != nil {
			return nil, err
		}
		r, err = s.openAt(ctx, *im, nil)
	}
	if err != nil {
		return nil, err
	}
	im.identify(r.in)
	return r, nil
}

// startOver forgets the parts of an import, before anybody notes what its place
// is now.
func (s *Service) startOver(ctx context.Context, im Import) error {
	s.log.WarnContext(ctx, "import starts over", "import", im.ID, "place", im.Place, "reason", im.Reason)
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := touchImport(ctx, tx, im, now, now.Add(s.settings.Lease)); err != nil {
			return err
		}
		im.kept = 0
		return errors.Join(keptImport(ctx, tx, im, now), deleteImportParts(ctx, tx, im.ID))
	})
	if err != nil {
		return err
	}
	return s.forget(ctx, im.ID, im.Epoch)
}

// openAt opens an import behind its parts, at the beginning if there are none.
func (s *Service) openAt(ctx context.Context, im Import, parts []importPartRow) (_ *reading, err error) {
	r := &reading{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	number := len(parts)
	o := scanning{buffers: s.buffers, limit: s.settings.payload(), hint: -1, padding: true, every: pace{s.settings.KeepBytes, s.settings.KeepAfter}, clock: s.clock}
	o.keep = func(ctx context.Context, p *stretch) error {
		if r.copy != nil {
			if err := r.copy.Sync(); err != nil {
				return err
			}
		}
		in := p.stream()
		defer in.Close()
		err := s.keepPart(ctx, im, number, in)
		if err == nil {
			number++
		} else if !fault.Is(err, fault.Conflict) {
			s.log.WarnContext(ctx, "import goes on without being kept", "import", im.ID, "err", err)
		}
		return err
	}
	if im.Root != "" {
		if o.want, err = cid.Decode(im.Root); err != nil {
			return nil, fault.Mark(fault.Invalid, err)
		}
	}
	if r.scan, err = newScan(o); err != nil {
		return nil, err
	}
	if err = s.loadParts(ctx, r.scan, parts); err != nil {
		return nil, err
	}
	if im.Copy {
		if r.copy, err = s.resumeCopy(im, r.scan.size); err != nil {
			return nil, err
		}
		r.scan.copy = r.copy
	}
	if len(parts) > 0 {
		r.in, err = s.openAgain(ctx, im, r.scan.offset())
	} else {
		r.in, err = s.openPlace(ctx, im)
	}
	if err != nil {
		return nil, err
	}
	r.scan.hint = r.in.size
	if r.copy != nil && r.in.size <= s.settings.payload() {
		if err = r.copy.fits(r.in.size, r.scan.size); err != nil {
			return nil, fault.Wrap(err, "import %s", im.Place)
		}
	}
	return r, nil
}

func pieceFrom(im Import, c commp.Piece, root cid.Cid, blocks int64) Piece {
	return Piece{
		Project: im.Project, CID: c.CIDv2.String(), CIDv1: c.CIDv1.String(), Root: root.String(),
		CARSize: int64(c.RawSize), PaddedSize: int64(c.PaddedSize), Blocks: blocks, Cached: im.Copy,
	}
}

// standsIn notes that the CAR is in a file of somebody's, from byte at on.
func (p *Piece) standsIn(im Import, at, length int64) {
	p.CAR, p.CARTime = im.Place, im.mtime
	if at != 0 || length != p.CARSize {
		p.CARAt, p.CARLength = at, length
	}
}

// keepScanned keeps the index of a CAR that was read, unless the piece is read
// by a sound one already: by that other projects may read their blocks.
func (s *Service) keepScanned(ctx context.Context, made commp.Piece, car *scanned) error {
	if s.indexed(ctx, made) {
		return nil
	}
	index, into := io.Pipe()
	go func() { _ = into.CloseWithError(car.spool.WriteIndex(ctx, into, car.header, car.size, car.tree)) }()
	_, err := s.blobs.Put(ctx, indexKey(made.CIDv2.String()), index)
	_ = index.Close()
	return fault.Wrap(err, "keep the index of piece %s", made.CIDv2)
}

// indexed reports whether there is a sound index of a piece.
func (s *Service) indexed(ctx context.Context, made commp.Piece) bool {
	f, size, closeIndex, err := s.indexFile(ctx, indexKey(made.CIDv2.String()))
	if err != nil {
		return false
	}
	defer func() { _ = closeIndex() }()
	return checkIndex(f, size, made.CIDv2.String()) == nil
}

// finish registers the piece of an import and ends it.
func (s *Service) finish(ctx context.Context, im Import, p Piece) error {
	note, err := s.noteOf(ctx, p)
	if err != nil {
		return err
	}
	im.Note = note
	// A beat that finds the import over ends ctx, while the answer to that very
	// commit may still be on its way.
	ctx = context.WithoutCancel(ctx)
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		p.CreatedAt = now
		if err := insertPiece(ctx, tx, &p); err != nil {
			return err
		}
		im.State, im.Piece, im.DoneBytes, im.Size = ImportDone, p.ID, p.CARSize, p.CARSize
		im.Known = !p.CreatedAt.Equal(now)
		if err := saveImport(ctx, tx, im, now); err != nil {
			return err
		}
		if err := deleteImportParts(ctx, tx, im.ID); err != nil {
			return err
		}
		if err := tell(ctx, tx, now, p, pieceFact{Label: fmt.Sprintf("import/%d", im.ID)}); err != nil {
			return err
		}
		return tellImport(ctx, tx, now, im)
	})
	if err == nil {
		s.tidy(ctx, im.ID)
	}
	return err
}

// noteOf says what is odd about a piece that its CAR may have all the same: many
// packers write a root that stands for more than the piece holds, or for nothing.
// A CAR that was cut off between two blocks looks alike.
func (s *Service) noteOf(ctx context.Context, p Piece) (string, error) {
	x, closeIndex, err := s.index(ctx, p.CID)
	if err != nil {
		return "", fault.Wrap(err, "look into the index of piece %s", p.CID)
	}
	defer func() { _ = closeIndex() }()
	c, err := cid.Decode(p.Root)
	if err != nil {
		return "", fault.Mark(fault.Internal, err)
	}
	if _, found, err := x.Find(c.Hash()); err != nil || found {
		return "", err
	}
	return fmt.Sprintf("its root %s is not among its blocks; if the CAR should hold it, it is cut off", p.Root), nil
}

// attend renews the lease of an import and notes how far it is, until stop. The
// context ends when the import is lost to another owner.
func (s *Service) attend(ctx context.Context, im Import, from int64) (_ context.Context, done *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done = new(atomic.Int64)
	done.Store(from)
	ended := make(chan struct{})
	beat := func() {
		im.DoneBytes = done.Load()
		err := s.beat(ctx, im)
		if fault.Is(err, fault.Conflict) {
			cancel(err)
		}
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(min(s.settings.Lease/3, time.Second), time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				beat()
			}
		}
	}()
	beat()
	return ctx, done, func() { cancel(nil); <-ended }
}
