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

// openSource is a source that is kept open.
type openSource struct {
	*source.Source
	version time.Time // of the row it was opened by
	looked  time.Time // when the row was last looked at
	there   time.Time // when it was last found to be there, after a file of it was not
}

// lookAgain is how long a source is read without a look at its row, which
// another process may have given new options.
const lookAgain = 5 * time.Second

// origin names a source in the indexes of pieces.
func origin(id int64) string { return "source/" + strconv.FormatInt(id, 10) }

// opened returns a source ready to be read. One on this machine that is not
// there is Unavailable: a disk that is not mounted, perhaps, and no reason to
// skip all of its files.
func (s *Service) opened(ctx context.Context, id int64) (*source.Source, error) {
	s.mu.Lock()
	kept, ok := s.sources[id]
	s.mu.Unlock()
	now := s.clock()
	if ok && now.Sub(kept.looked) < lookAgain {
		return kept.Source, nil
	}
	row, err := sourceByID(ctx, s.db.Read(), id)
	if err != nil {
		return nil, err
	}
	if ok && kept.version.Equal(row.UpdatedAt) {
		return s.keep(id, openSource{Source: kept.Source, version: row.UpdatedAt, looked: now, there: kept.there}), nil
	}
	src, err := s.connect(ctx, row)
	if err != nil {
		return nil, err
	}
	return s.keep(id, openSource{Source: src, version: row.UpdatedAt, looked: now}), nil
}

// keep remembers an open source, unless somebody was faster. Files of the one
// before stay open.
func (s *Service) keep(id int64, o openSource) *source.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.sources[id]; ok && kept.Source != o.Source && kept.version.Equal(o.version) {
		_ = o.Close()
		return kept.Source
	}
	s.sources[id] = o
	return o.Source
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
	if kept, ok := s.sources[id]; ok {
		_ = kept.Close()
		delete(s.sources, id)
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
	src, err := s.opened(ctx, id)
	if err != nil {
		return file, err, nil
	}
	opened, err := src.Open(ctx, f.Path, f.ID)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Forbidden) {
		if away := s.away(ctx, id); away != nil {
			return file, away, nil
		}
	}
	if err != nil {
		return file, nil, err
	}
	return sourceFile{opened, ctx}, nil, nil
}

// away returns why a source cannot be read at all, if it cannot: then a file
// that is not found is not gone.
func (s *Service) away(ctx context.Context, id int64) error {
	now := s.clock()
	s.mu.Lock()
	kept, ok := s.sources[id]
	s.mu.Unlock()
	if ok && now.Sub(kept.there) < lookAgain {
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
	if kept, ok := s.sources[id]; ok {
		kept.there = now
		s.sources[id] = kept
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
