package dataset

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/base/source"
)

// openSource is a source that is kept open while it is used, and a while longer.
// All but what it is opened by is Service.mu's.
type openSource struct {
	*source.Source
	id      int64
	version time.Time // of the row it was opened by
	here    bool      // on this machine

	looked time.Time   // when it was last held to its row and to what stands there
	there  time.Time   // when it was last found to be there, after a file of it was not
	users  int         // of whom the last closes it when it is gone
	gone   bool        // from Service.sources
	idle   *time.Timer // begins when the last user releases it
}

// lookAgain is how long a source is read without a look at its row, which
// another process may have given new options, and at what stands there.
const lookAgain = 5 * time.Second

// origin names a source in the indexes of pieces.
func origin(id int64) string { return "source/" + strconv.FormatInt(id, 10) }

// opened returns a source ready to be read, which is looked at again when the
// last look is so old. The caller releases it. One on this machine that is not
// there is Unavailable: a disk that is not mounted, perhaps, and no reason to
// skip all of its files.
func (s *Service) opened(ctx context.Context, id int64, again time.Duration) (*openSource, error) {
	now := s.clock()
	kept, looked := s.hold(id)
	if kept != nil && now.Sub(looked) < again {
		return kept, nil
	}
	row, err := sourceByID(ctx, s.db.Read(), id)
	if kept != nil && err == nil {
		err = kept.still(ctx, row)
		switch {
		case err == nil:
			s.mu.Lock()
			defer s.mu.Unlock()
			kept.looked = now
			return kept, nil
		case fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound):
			s.drop(kept)
			err = nil
		}
	}
	if kept != nil {
		s.release(kept)
	}
	if err != nil {
		return nil, err
	}
	src, err := s.connect(ctx, row)
	if err != nil {
		return nil, err
	}
	_, here := source.Spec{URL: row.URL}.Local()
	return s.keep(&openSource{Source: src, id: id, version: row.UpdatedAt, here: here, looked: now}), nil
}

// still returns fault.Conflict or NotFound where a source has to be opened anew.
func (o *openSource) still(ctx context.Context, row sourceRow) error {
	if !o.version.Equal(row.UpdatedAt) {
		return fault.New(fault.Conflict, "it has other options now")
	}
	return o.Current(ctx)
}

// hold makes the caller a user of a source that is open.
func (s *Service) hold(id int64) (o *openSource, looked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o = s.sources[id]; o == nil {
		return nil, looked
	}
	o.users++
	return o, o.looked
}

// release ends a use.
func (s *Service) release(o *openSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.users--
	switch {
	case o.users > 0:
	case o.gone:
		_ = o.Close()
	case !o.here:
	case o.idle == nil:
		o.idle = time.AfterFunc(s.settings.KeptOpen, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if o.users == 0 {
				s.dropLocked(o)
			}
		})
	default:
		o.idle.Reset(s.settings.KeptOpen)
	}
}

// keep makes the caller the first user of an open source, unless somebody was
// faster with the same.
func (s *Service) keep(o *openSource) *openSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.sources[o.id]; kept != nil {
		if kept.version.Equal(o.version) && !kept.looked.Before(o.looked) {
			_ = o.Close()
			kept.users++
			return kept
		}
		s.dropLocked(kept)
	}
	o.users = 1
	s.sources[o.id] = o
	return o
}

// drop has a source opened anew by whoever is next; its users go on with it.
func (s *Service) drop(o *openSource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(o)
}

func (s *Service) dropLocked(o *openSource) {
	if o.gone {
		return
	}
	o.gone = true
	delete(s.sources, o.id)
	if o.users == 0 {
		_ = o.Close()
	}
}

func (s *Service) connect(ctx context.Context, row sourceRow) (*source.Source, error) {
	spec := source.Spec{URL: row.URL}
	if row.Options != nil {
		text, err := s.seal.Open(row.Options)
		if err != nil {
			return nil, fault.Wrap(err, "options of source %d", row.ID)
		}
		if err := json.Unmarshal(text, &spec.Options); err != nil {
			return nil, fault.Wrap(err, "options of source %d", row.ID)
		}
	}
	src, err := source.Open(ctx, spec)
	if _, here := spec.Local(); here && fault.Is(err, fault.NotFound) { // a disk may be mounted yet; a server knows what it has
		err = fault.Mark(fault.Unavailable, err)
	}
	return src, err
}

// forget drops a source whose row has changed.
func (s *Service) forget(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.sources[id]; kept != nil {
		s.dropLocked(kept)
	}
}

// OpenSource opens a file that an index of a piece names, for packing and for
// reading pieces later. Another version than the one named is Conflict, one
// that is gone NotFound.
func (s *Service) OpenSource(ctx context.Context, f pack.Source) (pack.File, error) {
	file, away, err := s.openFile(ctx, f)
	if err = cmp.Or(away, err); err != nil {
		return nil, err
	}
	return file, nil
}

// openFile opens a file; away is why the source as a whole cannot be read, err
// why this file cannot.
func (s *Service) openFile(ctx context.Context, f pack.Source) (file sourceFile, away, err error) {
	number, isOurs := strings.CutPrefix(f.Origin, "source/")
	id, err := strconv.ParseInt(number, 10, 64)
	if !isOurs || err != nil {
		return file, fault.New(fault.NotFound, "origin %.200q: no dataset has such a source", f.Origin), nil
	}
	for again := lookAgain; ; again = 0 {
		src, err := s.opened(ctx, id, again)
		if err != nil {
			return file, err, nil
		}
		opened, err := src.Open(ctx, f.Path, f.ID)
		s.release(src)
		switch missing := fault.Is(err, fault.NotFound) || fault.Is(err, fault.Forbidden); {
		case err == nil:
			return sourceFile{opened, ctx}, nil, nil
		case !missing:
			return file, nil, err
		case again == 0 || !src.here: // else something else may stand there by now
			return file, s.away(ctx, id), err
		}
	}
}

// away returns why a source cannot be read at all, if it cannot: then a file
// that is not found is not gone.
func (s *Service) away(ctx context.Context, id int64) error {
	now := s.clock()
	s.mu.Lock()
	kept := s.sources[id]
	lately := kept != nil && now.Sub(kept.there) < lookAgain
	s.mu.Unlock()
	if lately {
		return nil
	}
	row, err := sourceByID(ctx, s.db.Read(), id)
	if err != nil {
		return err
	}
	src, err := s.connect(ctx, row)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.sources[id]; kept != nil {
		kept.there = now
	}
	return src.Close()
}

// remote reports whether a source is not on this machine, where many files are
// worth asking for at once.
func remote(url string) bool {
	scheme, _, ok := strings.Cut(url, ":")
	return ok && scheme != "" && !strings.Contains(scheme, "/")
}

// sourceFile is a file of a source as packing takes it.
type sourceFile struct {
	*source.File
	ctx context.Context
}

// Check reports whether the file is still the version that was opened.
func (f sourceFile) Check() error { return f.File.Check(f.ctx) }

// opener opens the sources of entries; it is a pack.Opener. That a source is
// away fails the run, whatever the reason, which is kept.
type opener struct {
	s     *Service
	rules Rules
	away  atomic.Pointer[error]
}

// Open is OpenSource by the name that packing knows.
func (o *opener) Open(ctx context.Context, f pack.Source) (pack.File, error) {
	file, away, err := o.s.openFile(ctx, f)
	if away != nil {
		o.away.Store(&away)
		return nil, fault.Mark(fault.Unavailable, away)
	}
	if err != nil {
		return nil, err
	}
	if o.rules.encoded() {
		return o.rules.encode(file), nil
	}
	return file, nil
}

// explain returns the reason for a run's error.
func (o *opener) explain(err error) error {
	if away := o.away.Load(); err != nil && away != nil && fault.Is(err, fault.Unavailable) {
		return *away
	}
	return err
}
