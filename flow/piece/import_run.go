package piece

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
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
	if err != nil || im.over() {
		return err
	}
	if s.settings.ImportsApart && !im.Copy {
		return job.Later(lookAgain)
	}
	if wait := max(im.NextAttempt.Sub(s.now()), im.LeaseUntil.Sub(s.now())); wait > 0 {
		return job.Later(wait)
	}
	im, err = s.claim(ctx, im.ID, s.settings.Worker)
	if fault.Is(err, fault.Conflict) {
		return job.Later(time.Second)
	}
	if err != nil {
		return err
	}
	return s.settle(ctx, im, s.importOwned(ctx, im))
}

func (s *Service) claim(ctx context.Context, id int64, worker string) (im Import, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		now := s.now()
		im, err = claimImport(ctx, tx, id, worker, now, now.Add(s.settings.Lease))
		return err
	})
	return im, err
}

// settle leaves an import that was not finished in the state its error calls
// for. A process that stops gives it back.
func (s *Service) settle(ctx context.Context, im Import, failed error) error {
	if failed == nil {
		return nil
	}
	stopped := context.Cause(ctx)
	if stopped != nil {
		im.Attempts--
	}
	wait := s.leave(&im, failed, fault.KindOf(failed).Retry(), stopped != nil)
	err := s.save(context.WithoutCancel(ctx), im)
	switch {
	case stopped != nil:
		return errors.Join(stopped, err)
	case fault.Is(err, fault.Conflict): // somebody else owns it by now
		return job.Later(s.settings.Lease)
	case err != nil:
		return err
	case im.State == ImportFailed:
		return nil // the row says why; the job did what there was to do
	}
	return job.Later(wait)
}

// leave decides about an attempt that came to nothing.
func (s *Service) leave(im *Import, failed error, retry, stopped bool) (wait time.Duration) {
	im.State, im.Reason = ImportFailed, failed.Error()
	if stopped {
		im.State, im.Reason = ImportWaiting, ""
		return 0
	}
	if retry && im.Attempts < maxAttempts {
		wait = s.settings.Lease << (im.Attempts - 1) / 4
		im.State, im.NextAttempt = ImportWaiting, s.now().Add(wait)
	}
	return wait
}

// save writes the state an owner leaves its import in, and tells of an end.
func (s *Service) save(ctx context.Context, im Import) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := saveImport(ctx, tx, im, now); err != nil || !im.over() {
			return err
		}
		return tellImport(ctx, tx, now, im)
	})
}

// failImport ends an import whose job will not be tried again.
func (s *Service) failImport(ctx context.Context, a importArgs, reason error) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		im, err := importByID(ctx, tx, 0, a.Import)
		if err != nil || im.over() {
			return err
		}
		im.State, im.Reason = ImportFailed, reason.Error()
		if err := endImport(ctx, tx, im, s.now()); err != nil {
			return err
		}
		return tellImport(ctx, tx, s.now(), im)
	})
}

// importOwned does an import that this process has claimed.
func (s *Service) importOwned(ctx context.Context, im Import) error {
	in, err := s.openPlace(ctx, im.Place)
	if err != nil {
		return err
	}
	defer in.Close()
	im.Size, im.mtime = max(in.size, 0), in.mtime
	ctx, done, stop := s.attend(ctx, im)
	defer stop()
	o := scanning{buffers: s.buffers, limit: s.settings.payload(), hint: in.size, progress: done.Store}
	if im.Root != "" {
		if o.want, err = cid.Decode(im.Root); err != nil {
			return fault.Mark(fault.Invalid, err)
		}
	}
	var keep *keeping
	if im.Copy {
		keep = s.keepCAR(ctx, im)
		defer keep.discard()
		o.copy = keep.into
	}
	car, err := scanCAR(ctx, in, o)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fault.Wrap(err, "import %s", im.Place)
	}
	defer car.Close()
	if err := in.check(); err != nil {
		return err
	}
	made, err := s.wanted(car.tree, im.PieceCID)
	if err != nil {
		return fault.Wrap(err, "import %s", im.Place)
	}
	if err := s.keepScanned(ctx, made, car); err != nil {
		return err
	}
	p := pieceFrom(im, made, car.root, car.spool.Records())
	if im.Copy {
		if err := keep.finish(ctx, carKey(p.CID)); err != nil {
			return fault.Wrap(err, "keep the CAR of piece %s", p.CID)
		}
	} else {
		p.standsIn(im, car.at, in.size)
	}
	return s.finish(ctx, im, p)
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
	f, size, err := s.local(ctx, indexKey(made.CIDv2.String()))
	if err != nil {
		return false
	}
	defer f.Close()
	return checkIndex(f, size, made.CIDv2.String()) == nil
}

// finish registers the piece of an import and ends it.
func (s *Service) finish(ctx context.Context, im Import, p Piece) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		p.CreatedAt = now
		if err := insertPiece(ctx, tx, &p); err != nil {
			return err
		}
		im.State, im.Piece, im.DoneBytes, im.Size = ImportDone, p.ID, p.CARSize, p.CARSize
		if err := saveImport(ctx, tx, im, now); err != nil {
			return err
		}
		if err := tell(ctx, tx, now, p, pieceFact{Label: fmt.Sprintf("import/%d", im.ID)}); err != nil {
			return err
		}
		return tellImport(ctx, tx, now, im)
	})
}

// attend renews the lease of an import and notes how far it is, until stop. The
// context ends when the import is lost to another owner.
func (s *Service) attend(ctx context.Context, im Import) (_ context.Context, done *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done = new(atomic.Int64)
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

// place is an open file or stream.
type place struct {
	io.ReadCloser
	size  int64 // -1 is unknown
	mtime int64
	check func() error // after the last byte
}

// openPlace opens what an import is about.
func (s *Service) openPlace(ctx context.Context, name string) (*place, error) {
	if IsURL(name) {
		if s.web == nil {
			return nil, fault.New(fault.Unavailable, "import %s: this process connects to nobody", name)
		}
		f, err := fetch.Open(ctx, s.web, name, fetch.Options{})
		if err != nil {
			return nil, err
		}
		return &place{f, f.Size(), 0, func() error { return nil }}, nil
	}
	f, info, err := openOwn(name)
	if err != nil {
		return nil, err
	}
	return &place{f, info.Size(), info.ModTime().UnixNano(), func() error { return unchanged(f, info) }}, nil
}

// openOwn opens a CAR in place.
func openOwn(name string) (*os.File, os.FileInfo, error) {
	info, err := os.Stat(name) // before it is opened: a pipe would wait for a writer
	switch {
	case err != nil && os.IsPermission(err):
		return nil, nil, fault.Mark(fault.Forbidden, err)
	case err != nil:
		return nil, nil, fault.Mark(kindOfPath(err), err)
	case !info.Mode().IsRegular():
		return nil, nil, fault.New(fault.Invalid, "import %s: is no regular file", name)
	}
	f, err := os.Open(name)
	switch {
	case err != nil && os.IsPermission(err):
		return nil, nil, fault.Mark(fault.Forbidden, err)
	case err != nil:
		return nil, nil, fault.Mark(kindOfPath(err), err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// unchanged returns fault.Conflict if a file is another one than it was.
func unchanged(f *os.File, was os.FileInfo) error {
	now, err := os.Stat(f.Name())
	if err != nil {
		return fault.Mark(kindOfPath(err), err)
	}
	if !os.SameFile(now, was) || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
		return fault.New(fault.Conflict, "import %s: changed while it was read", f.Name())
	}
	return nil
}

// keeping is a CAR on its way into the blob store, under a name of its own until
// its piece is known.
type keeping struct {
	s    *Service
	into *io.PipeWriter
	key  string
	done chan error
}

func (s *Service) keepCAR(ctx context.Context, im Import) *keeping {
	r, w := io.Pipe()
	k := &keeping{s, w, fmt.Sprintf("piece/import-%d.car", im.ID), make(chan error, 1)}
	go func() {
		_, err := s.blobs.Put(ctx, k.key, r)
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // lets the scan end where the store does not read on
		k.done <- err
	}()
	return k
}

// mover is what a blob store can do where objects are files.
type mover interface {
	Move(ctx context.Context, from, to string) error
}

// finish gives the CAR its name.
func (k *keeping) finish(ctx context.Context, key string) error {
	_ = k.into.Close()
	if err := <-k.done; err != nil {
		return err
	}
	k.done <- nil
	if m, ok := k.s.blobs.(mover); ok {
		return m.Move(ctx, k.key, key)
	}
	whole, err := k.s.blobs.Get(ctx, k.key, 0, -1)
	if err != nil {
		return err
	}
	defer whole.Close()
	_, err = k.s.blobs.Put(ctx, key, whole)
	return err
}

// discard removes what has not got a name.
func (k *keeping) discard() {
	_ = k.into.CloseWithError(errGivenUp)
	<-k.done
	_ = k.s.blobs.Delete(context.Background(), k.key) // gone already where it was moved; else the next attempt replaces it
}

var errGivenUp = fault.New(fault.Unavailable, "the import was given up")
