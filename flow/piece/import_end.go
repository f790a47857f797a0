package piece

import (
	"context"
	"errors"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// settle leaves an import that was not finished in the state its error calls
// for. A process that stops gives it back.
func (s *Service) settle(ctx context.Context, im Import, failed error) error {
	if failed == nil {
		return nil
	}
	if now, err := importByID(context.WithoutCancel(ctx), s.db.Read(), 0, im.ID); err == nil && now.Epoch == im.Epoch {
		im.DoneBytes, im.Size = now.DoneBytes, now.Size
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
	im.State, im.Reason, im.FaultKind = ImportFailed, failed.Error(), fault.KindOf(failed).String()
	if stopped {
		im.State, im.Reason, im.FaultKind = ImportWaiting, "", ""
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
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := saveImport(ctx, tx, im, now); err != nil || !im.over() {
			return err
		}
		return errors.Join(deleteImportParts(ctx, tx, im.ID), tellImport(ctx, tx, now, im))
	})
	if err == nil && im.over() {
		s.tidy(context.WithoutCancel(ctx), im.ID)
	}
	return err
}

// failImport ends an import whose job will not be tried again.
func (s *Service) failImport(ctx context.Context, a importArgs, reason error) error {
	return s.end(ctx, a.Import, reason)
}

// CancelImport ends an import of the project, whoever owns it: the owner stops at
// its next beat. What was kept of the import is removed, the CAR itself is not
// touched. One that is over is fault.Conflict.
func (s *Service) CancelImport(ctx context.Context, project, id int64) (Import, error) {
	im, err := importByID(ctx, s.db.Read(), project, id)
	for err == nil && !im.over() {
		err = s.end(ctx, id, errCancelled)
		if err == nil || fault.Is(err, fault.Conflict) { // the owner is another one by now
			im, err = importByID(ctx, s.db.Read(), project, id)
		}
	}
	if err == nil && im.Reason != errCancelled.Error() {
		err = fault.New(fault.Conflict, "import %d: cannot be cancelled, it is %s", id, im.State)
	}
	return im, err
}

var errCancelled = fault.New(fault.Conflict, "cancelled on request")

// end has an import fail that is not over, whoever owns it.
func (s *Service) end(ctx context.Context, id int64, reason error) error {
	var im Import
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		im, err = importByID(ctx, tx, 0, id)
		if err != nil || im.over() {
			return err
		}
		im.State, im.Reason, im.FaultKind = ImportFailed, reason.Error(), fault.KindOf(reason).String()
		if err := endImport(ctx, tx, im, s.now()); err != nil {
			return err
		}
		return errors.Join(deleteImportParts(ctx, tx, im.ID), tellImport(ctx, tx, s.now(), im))
	})
	if err == nil {
		s.tidy(context.WithoutCancel(ctx), im.ID)
	}
	return err
}
