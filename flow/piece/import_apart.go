package piece

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// What nodes of role commp do with imports, from outside: claim one, take its
// parts, read its CAR, keep parts and beat while they compute, and hand the index
// in or give up. Whoever is not the import's owner any more has lost it:
// fault.Conflict. Nothing they say ends an import badly: what they cannot do the
// node does itself.

// Owner shows who owns an import: the token and the epoch of its claim.
type Owner struct{ Project, Token, Import, Epoch int64 }

// Lease is how long the owner of an import may be silent.
func (s *Service) Lease() time.Duration { return s.settings.Lease }

// Payload is how many bytes of CAR fit into a piece.
func (s *Service) Payload() int64 { return s.settings.payload() }

// ClaimImport gives the holder of a token the next import of the project, and
// how many parts of it are kept. While the lease lives no other gets it. If none
// waits, the error is fault.NotFound; a token that is refused gets Forbidden.
func (s *Service) ClaimImport(ctx context.Context, project, token int64, worker string) (im Import, parts int, err error) {
	reason, err := liar(ctx, s.db.Read(), project, token)
	if err != nil {
		return im, 0, err
	}
	if reason != "" {
		return im, 0, fault.New(fault.Forbidden, "token %d is refused: %s; when that cannot happen again, give the worker another token", token, reason)
	}
	for {
		id, err := nextImport(ctx, s.db.Read(), project, s.now())
		if err != nil {
			return im, 0, err
		}
		if id == 0 {
			return im, 0, fault.New(fault.NotFound, "no import waits for a commitment")
		}
		im, err = s.claim(ctx, id, token, worker)
		if fault.Is(err, fault.Conflict) {
			continue // somebody was faster
		}
		if err != nil {
			return im, 0, err
		}
		if parts, err = s.measure(ctx, &im); err == nil {
			return im, parts, nil
		}
		if err := s.returned(ctx, im, err, fault.KindOf(err).Retry()); err != nil && !fault.Is(err, fault.Conflict) {
			return im, 0, err
		}
	}
}

// errOwn says that an import is not for nodes apart.
var errOwn = fault.New(fault.Invalid, "nobody could tell whether others read the same bytes")

// measure notes which version of its place a claim is about, and counts the
// parts of that.
func (s *Service) measure(ctx context.Context, im *Import) (parts int, err error) {
	if im.Attempts > maxAttempts {
		return 0, fault.New(fault.Invalid, "import %s: %d workers began it and fell silent", im.Place, maxAttempts)
	}
	kept, err := importParts(ctx, s.db.Read(), im.ID)
	if err != nil {
		return 0, err
	}
	p, err := s.openPlace(ctx, *im)
	if err != nil {
		return 0, err
	}
	_ = p.Close()
	if p.size > s.settings.payload()+(1<<30) { // of a CARv2, the index is not in the piece
		return 0, tooLarge(p.size, s.settings.payload())
	}
	was := *im
	im.identify(p)
	if IsURL(im.Place) && (im.Version == "" || im.Size == 0) {
		return 0, errOwn
	}
	if len(kept) > 0 && (was.Size != im.Size || was.mtime != im.mtime || was.Version != im.Version) {
		im.Reason, kept = fmt.Sprintf("started over: %s changed: it is another version than %d parts are of", im.Place, len(kept)), nil
		if err := s.startOver(ctx, *im); err != nil {
			return 0, err
		}
	}
	return len(kept), s.beat(ctx, *im)
}

func (s *Service) beat(ctx context.Context, im Import) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		return beatImport(ctx, tx, im, now, now.Add(s.settings.Lease))
	})
}

// owns reads an import that somebody says to own.
func (s *Service) owns(ctx context.Context, o Owner) (Import, error) {
	im, err := importByID(ctx, s.db.Read(), o.Project, o.Import)
	if err == nil && (im.Epoch != o.Epoch || im.token != o.Token || im.State != ImportRunning) {
		err = fault.New(fault.Conflict, "import %d: epoch %d owns it no longer; it is %s at epoch %d", o.Import, o.Epoch, im.State, im.Epoch)
	}
	return im, err
}

// BeatImport renews a lease and notes how many bytes are done.
func (s *Service) BeatImport(ctx context.Context, o Owner, done int64) error {
	im, err := s.owns(ctx, o)
	if err != nil {
		return err
	}
	im.DoneBytes = max(min(done, im.Size), im.DoneBytes)
	return s.beat(ctx, im)
}

// KeepImportPart keeps the part of a number, as a worker made it, and renews the
// lease. Part 0 replaces all there are; of others each number comes once.
func (s *Service) KeepImportPart(ctx context.Context, o Owner, number int, part io.Reader) error {
	im, err := s.owns(ctx, o)
	if err != nil {
		return err
	}
	return s.keepPart(ctx, im, number, part)
}

// ImportPart reads a part that was kept, under whichever claim.
func (s *Service) ImportPart(ctx context.Context, o Owner, number int) (io.ReadCloser, error) {
	if _, err := s.owns(ctx, o); err != nil {
		return nil, err
	}
	parts, err := importParts(ctx, s.db.Read(), o.Import)
	if err != nil {
		return nil, err
	}
	if number < 0 || number >= len(parts) {
		return nil, fault.New(fault.NotFound, "import %d: has %d parts, none of number %d", o.Import, len(parts), number)
	}
	return s.blobs.Get(ctx, parts[number].Blob, 0, -1)
}

// OpenImport opens the CAR for its owner. What an URL names is read there, not
// here: fault.Invalid.
func (s *Service) OpenImport(ctx context.Context, o Owner) (*os.File, Import, error) {
	im, err := s.owns(ctx, o)
	if err != nil {
		return nil, im, err
	}
	if IsURL(im.Place) {
		return nil, im, fault.New(fault.Invalid, "import %d: is read from %s", im.ID, im.Place)
	}
	f, err := openSame(im)
	return f, im, err
}

// openSame opens the file of an import if it is what it was.
func openSame(im Import) (*os.File, error) {
	f, info, err := openOwn(im.Place)
	if err != nil {
		return nil, err
	}
	if info.Size() != im.Size || info.ModTime().UnixNano() != im.mtime {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "import %s: changed since it was claimed", im.Place)
	}
	return f, nil
}

// GiveUpImport ends an attempt; retry says whether another one may succeed.
func (s *Service) GiveUpImport(ctx context.Context, o Owner, reason string, retry bool) error {
	im, err := s.owns(ctx, o)
	if err != nil {
		return err
	}
	return s.returned(ctx, im, errors.New(reason), retry)
}

// returned takes an import back from a node apart. What is over by its word the
// node tries itself.
func (s *Service) returned(ctx context.Context, im Import, reason error, retry bool) error {
	s.leave(&im, reason, retry, false)
	if im.State != ImportFailed {
		return s.save(ctx, im)
	}
	im.State, im.own, im.Attempts, im.NextAttempt = ImportWaiting, true, 0, s.now()
	im.Reason = "the node itself looks, since a worker said: " + im.Reason
	return s.saveAndAsk(ctx, im)
}

// saveAndAsk leaves an import to this node's job.
func (s *Service) saveAndAsk(ctx context.Context, im Import) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := saveImport(ctx, tx, im, s.now()); err != nil {
			return err
		}
		return job.Enqueue(ctx, s.jobs, tx, importKind, importArgs{im.ID})
	})
}

// FinishImport takes the index of an import, as a worker made it: root is the
// piece's, at is where the CAR begins in the file. With that the worker has
// committed to it; only now slots are chosen in which it is compared with the
// bytes. Of a CAR that stays, at once: then the piece is there. One that is
// copied is compared when the node has its copy.
func (s *Service) FinishImport(ctx context.Context, o Owner, root string, at int64, index io.Reader) (Import, error) {
	im, err := s.owns(ctx, o)
	if err != nil {
		return im, err
	}
	im.found = found{index: foundKey(im.ID, im.Epoch), root: root, at: at, by: o.Token}
	limit := 2*im.Size + 1<<20
	body := &io.LimitedReader{R: index, N: limit}
	if _, err := s.blobs.Put(ctx, im.found.index, body); err != nil {
		return im, fault.Wrap(err, "take the index of import %d", im.ID)
	}
	if im.Copy {
		im.State, im.NextAttempt, im.Attempts = ImportWaiting, s.now(), 0
		if err := s.saveAndAsk(ctx, im); err != nil {
			return im, err
		}
	} else if err := s.concludeHeld(ctx, im); err != nil {
		return im, err
	}
	return importByID(ctx, s.db.Read(), o.Project, o.Import)
}

// concludeHeld ends the import of a CAR that stays where it is.
func (s *Service) concludeHeld(ctx context.Context, im Import) error {
	f, err := openSame(im)
	if err != nil {
		return err
	}
	defer f.Close()
	car, err := s.heldCAR(im, f)
	if err == nil {
		return s.conclude(ctx, im, car, nil)
	}
	return s.doubt(ctx, im, err)
}
