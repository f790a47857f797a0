package piece

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// releaseArgs name the piece whose released CARs are to be deleted.
type releaseArgs struct {
	Piece int64 `json:"piece"`
}

var releaseKind = job.Kind[releaseArgs]{Name: "piece.release", Queue: job.Light, Timeout: 10 * time.Minute, Attempts: 20, Unique: true}

// hold notes that somebody wants a CAR that this node has written to a place,
// which look finds there. While it is being deleted the error is
// fault.Unavailable: what is to be there has to be written again.
func (s *Service) hold(ctx context.Context, tx *db.Tx, place string, look func() error) error {
	rows, err := lockPlace(ctx, tx, place)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.State == placeDeleting {
			return fault.New(fault.Unavailable, "CAR at %s: is being deleted; it is written again when it is gone", place)
		}
	}
	err = look()
	if fault.Is(err, fault.NotFound) && len(rows) > 0 { // deleted meanwhile
		return fault.Mark(fault.Unavailable, err)
	}
	return err
}

// holdKept is hold of a CAR that is kept in the blob store beside its blocks.
func (s *Service) holdKept(ctx context.Context, tx *db.Tx, p Piece, plan int64) error {
	if !s.settings.CacheCAR {
		return nil
	}
	place := inStore + carKey(p.CID)
	if err := s.hold(ctx, tx, place, func() error { return nil }); err != nil {
		return err
	}
	return keepPlace(ctx, tx, p.ID, place, fmt.Sprintf("plan/%d", plan), s.now())
}

// carFact is the data of a CAR's events.
type carFact struct {
	Piece  int64    `json:"piece"`
	CID    string   `json:"piece_cid"`
	Places []string `json:"places"`
	Reason string   `json:"reason,omitempty"`
}

// Release has the CARs of a piece deleted that this node has exported, or keeps
// beside what it was packed from, unless another piece's stand in the same place:
// of equal pieces of several projects the last release counts. CARs that were
// imported stay. All is the caller's transaction; where there is nothing to
// release nothing happens.
func (s *Service) Release(ctx context.Context, tx *db.Tx, piece int64, reason string) error {
	now := s.now()
	places, err := releasePlaces(ctx, tx, piece, reason, now)
	if err != nil || len(places) == 0 {
		return err
	}
	if err := job.Enqueue(ctx, s.jobs, tx, releaseKind, releaseArgs{piece}); err != nil {
		return err
	}
	return tellCAR(ctx, tx, now, piece, "car.released", places, reason)
}

func tellCAR(ctx context.Context, tx *db.Tx, now time.Time, piece int64, kind string, places []string, reason string) error {
	p, err := pieceOfAnyProject(ctx, tx, piece)
	if err != nil {
		return err
	}
	for i, place := range places {
		if strings.HasPrefix(place, inStore) {
			places[i] = "blob store"
		}
	}
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: kind, Project: p.Project, Subject: fmt.Sprintf("piece/%d", piece),
		Data: event.JSON(carFact{piece, p.CID, places, reason}),
	})
}

// Drop ends one holder's wish for a CAR that was exported to a place, and
// deletes it if nobody else has one.
func (s *Service) Drop(ctx context.Context, place, holder string) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		ids, err := releaseHolder(ctx, tx, place, holder, now)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := job.Enqueue(ctx, s.jobs, tx, releaseKind, releaseArgs{id}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = s.deletePlace(ctx, place)
	return err
}

// runRelease deletes what was released of a piece and is wanted by nobody.
func (s *Service) runRelease(ctx context.Context, a releaseArgs) error {
	places, err := doomedPlaces(ctx, s.db.Read(), a.Piece)
	if err != nil {
		return err
	}
	var errs []error
	for _, place := range places {
		gone, err := s.deletePlace(ctx, place)
		if err == nil && gone {
			err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
				return tellCAR(ctx, tx, s.now(), a.Piece, "car.deleted", []string{place}, "")
			})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// deadRelease keeps what could not be deleted: whoever writes there again would
// wait for it for ever.
func (s *Service) deadRelease(ctx context.Context, a releaseArgs, reason error) error {
	places, err := doomedPlaces(ctx, s.db.Read(), a.Piece)
	if err != nil {
		return err
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		for _, place := range places {
			if _, err := movePlace(ctx, tx, place, placeKept, now, placeDeleting); err != nil {
				return err
			}
		}
		if len(places) == 0 {
			return nil
		}
		return tellCAR(ctx, tx, now, a.Piece, "car.kept", places, reason.Error())
	})
}

// deletePlace deletes a CAR if nobody wants it; gone is whether this call did.
// Between the two transactions a kill leaves the state in which the next attempt
// goes on, and nobody takes the place meanwhile.
func (s *Service) deletePlace(ctx context.Context, place string) (gone bool, err error) {
	var known, doomed bool
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := lockPlace(ctx, tx, place)
		if err != nil {
			return err
		}
		released := false
		known, doomed = len(rows) > 0, false
		for _, r := range rows {
			if r.State == placeKept {
				return nil
			}
			released = released || r.State != placeGone
		}
		imported, standing, err := wantedElsewise(ctx, tx, place)
		// Of what was written before places were listed only its holder knows.
		if doomed = err == nil && !imported && (!known || released && !standing); !doomed {
			return err
		}
		_, err = movePlace(ctx, tx, place, placeDeleting, s.now(), placeReleased)
		return err
	})
	if err != nil || !doomed {
		return false, err
	}
	if err := s.deleteCAR(ctx, place, known); err != nil {
		return false, fault.Wrap(err, "delete the CAR at %s", place)
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := movePlace(ctx, tx, place, placeGone, s.now(), placeDeleting)
		gone = n > 0
		if err != nil || known && !gone {
			return err
		}
		return forgetPlace(ctx, tx, place)
	})
	return gone, err
}

// deleteCAR deletes what stands at a place. A file that is not the one this node
// has written is somebody's, and stays.
func (s *Service) deleteCAR(ctx context.Context, place string, known bool) error {
	if key, ok := strings.CutPrefix(place, inStore); ok {
		return s.blobs.Delete(ctx, key)
	}
	if InBucket(place) {
		bucket, key := bucketOf(place)
		store, err := s.OpenPlace(ctx, bucket)
		if err != nil {
			return err
		}
		return store.Delete(ctx, key)
	}
	info, err := os.Stat(place)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(place)); known && err != nil {
			return fault.Mark(fault.Unavailable, err) // on another host, perhaps, whose turn will come
		}
		return nil
	}
	if err != nil {
		return err
	}
	p, err := standingAt(ctx, s.db.Read(), place)
	if err == nil && p.fits(info) != nil {
		return nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(place))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
