package dataset

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// scan finds what the sources of a preparation hold and cuts it into chunks,
// which are packed meanwhile. Interrupted, it goes on behind the last record it
// has saved here, or else behind the last chunk.
func (s *Service) scan(ctx context.Context, row *preparationRow) error {
	if row.Stage != Scanning {
		return nil
	}
	dir := s.workDir(row.ID, "scan")
	leave, err := s.enter(dir)
	if err != nil {
		return err
	}
	defer leave()
	prof, err := dag.ProfileNamed("")
	if err != nil {
		return err
	}
	l, err := openList(dir, row.Chunks+1, row.Scan)
	if err != nil {
		return err
	}
	sc := &scanner{s: s, row: row, list: l, cut: newCutter(row.Rules, prof)}
	sc.cut.used, sc.cut.last = l.mark.Used, string(l.mark.Last)
	if err := sc.run(ctx); err != nil {
		return l.save(err, sc.cut)
	}
	return sc.close(ctx, nil, 0)
}

// scanner is one run of a scan.
type scanner struct {
	s    *Service
	row  *preparationRow
	list *list
	cut  *cutter
	told time.Time // when the row was last brought up to date

	before *Catalog // of the preparation before, nil without one
}

func (sc *scanner) run(ctx context.Context) error {
	if rest := sc.list.mark.Scan.Rest; rest != nil && sc.list.mark.Records == 0 {
		r := Record{
			Path: string(rest.Path), Kind: KindFile, Size: rest.Size, Modified: rest.Modified, ID: rest.ID, Source: rest.Source,
		}
		if err := sc.put(ctx, r, rest.From); err != nil {
			return err
		}
	}
	before, done, err := sc.s.catalogOf(ctx, sc.row.Prior)
	if err != nil {
		return err
	}
	defer done()
	after := string(sc.list.mark.Scan.After)
	old := func(func(Record, error) bool) {}
	if sc.before = before; before != nil {
		old = before.From(behind(after))
	}
	for d, err := range Differences(old, sc.walk(ctx, after)) {
		if err != nil {
			return err
		}
		if d.Change == Gone {
			continue
		}
		r := d.New
		if d.Change == Same && r.State == FilePending && r.Kind != KindDirectory {
			r.State, r.CID, r.TreeSize, r.Parts = FileCarried, d.Old.CID, d.Old.TreeSize, d.Old.Parts
		}
		if err := sc.take(ctx, r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// behind is where a catalog goes on after a key.
func behind(key string) string {
	if key == "" {
		return ""
	}
	return key + "\x00"
}

// walk yields what is in the sources, in the order of catalogs: sources fill
// directories of their own, so they come one after the other.
func (sc *scanner) walk(ctx context.Context, after string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		sources, err := sourcesOf(ctx, sc.s.db.Read(), sc.row.DatasetID)
		if err != nil {
			yield(Record{}, err)
			return
		}
		slices.SortFunc(sources, func(a, b sourceRow) int { return cmp.Compare(a.At+"/", b.At+"/") })
		for _, src := range sources {
			err := sc.walkSource(ctx, src, after, func(r Record) bool { return yield(r, nil) })
			if err == errEnough {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
		}
	}
}

// errEnough ends a walk that nobody looks at any more.
var errEnough = fault.New(fault.Internal, "enough seen")

func (sc *scanner) walkSource(ctx context.Context, row sourceRow, after string, yield func(Record) bool) error {
	prefix := ""
	if row.At != "" {
		prefix = row.At + "/"
		switch {
		case after < prefix: // nothing of it was seen yet
			after = ""
			if !yield(Record{Path: row.At, Kind: KindDirectory, Source: row.ID}) {
				return errEnough
			}
		case !strings.HasPrefix(after, prefix): // all of it was
			return nil
		}
	}
	src, err := sc.s.opened(ctx, row.ID, 0)
	if err != nil {
		return err
	}
	defer sc.s.release(src)
	rules := sc.row.Rules
	filter := rules.filter()
	empty := strings.TrimPrefix(after, prefix) == "" // nothing of it was seen before
	err = src.Walk(ctx, strings.TrimPrefix(after, prefix), filter, func(i source.Item) error {
		empty = false
		if !yield(recordOf(row.ID, prefix, i)) {
			return errEnough
		}
		return ctx.Err()
	})
	if err == nil && empty && src.here {
		return sc.mayBeEmpty(ctx, src, prefix)
	}
	return err
}

// mayBeEmpty refuses a directory of this machine that holds nothing at all and
// held files before: its disk is not mounted, perhaps, and nothing would take the
// place of everything under the dataset's name.
func (sc *scanner) mayBeEmpty(ctx context.Context, src *openSource, prefix string) error {
	held := ""
	if sc.before != nil {
		for r, err := range sc.before.From(prefix) {
			if err != nil {
				return err
			}
			if !strings.HasPrefix(r.key(), prefix) {
				break
			}
			if r.Source == src.id && r.Kind == KindFile {
				held = r.Path
				break
			}
		}
	}
	if held == "" {
		return nil
	}
	err := src.Walk(ctx, "", source.Filter{}, func(source.Item) error { return errEnough })
	if err != nil && err != errEnough {
		return err
	}
	if err == errEnough { // and it is the rules that leave all of it out
		return nil
	}
	return fault.New(fault.Unavailable, "source %s: is empty, and held files such as %q before: its disk is not mounted, perhaps; "+
		"where it is to be empty, make a directory in it", src, held)
}

// recordOf is what a catalog says of an item; what cannot be packed is skipped
// with the reason.
func recordOf(src int64, prefix string, i source.Item) Record {
	r := Record{Path: prefix + i.Path, Size: max(0, i.Size), ID: i.ID(), Source: src, Target: i.Target, Reason: i.Unreadable}
	if !i.ModTime.IsZero() {
		r.Modified = i.ModTime.UnixNano()
	}
	switch i.Kind {
	case source.KindDir:
		r.Kind, r.ID, r.Size = KindDirectory, "", 0
	case source.KindSymlink:
		r.Kind, r.Size = KindLink, int64(len(i.Target))
		if r.Reason == "" && (i.Target == "" || len(i.Target) > maxTarget) {
			r.Reason = fmt.Sprintf("its target has %d bytes, from 1 to %d can be kept", len(i.Target), maxTarget)
			r.Target = ""
		}
	case source.KindOther:
		r.Reason = cmp.Or(r.Reason, "is neither a file nor a directory nor a link")
	case source.KindFile:
		if i.Size < 0 {
			r.Reason = cmp.Or(r.Reason, "the source does not tell its size")
		}
	}
	if len(r.Path) > maxFileName && slices.ContainsFunc(strings.Split(r.Path, "/"), func(name string) bool { return len(name) > maxFileName }) {
		r.Reason = cmp.Or(r.Reason, fmt.Sprintf("its name is longer than %d bytes", maxFileName))
	}
	if depth := strings.Count(r.Path, "/") + 1; depth > maxDepth {
		r.Reason = cmp.Or(r.Reason, fmt.Sprintf("it is %d directories deep, %d can be kept", depth, maxDepth))
	}
	if r.Reason != "" {
		r.State, r.Reason = FileSkipped, cleanText(r.Reason, maxReason)
	}
	return r
}

// Limits of what goes into a directory tree that every reader takes.
const (
	maxTarget   = 4096 // bytes of a link's target
	maxFileName = 1024 // bytes of one name
	maxDepth    = dag.MaxDirectoryDepth - 1
)

// take puts a record into the chunk.
func (sc *scanner) take(ctx context.Context, r Record) error {
	if err := sc.put(ctx, r, 0); err != nil {
		if r.State != FileSkipped || !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
			return err
		}
		// A name that no tree can hold, out of order therefore.
		sc.s.log.WarnContext(ctx, "name of a source left out", "preparation", sc.row.ID, "path", r.Path, "reason", r.Reason)
		sc.list.mark.Scan.Found.Unlisted++
		sc.list.mark.Scan.Found.add(r)
	}
	if sc.list.full() {
		if err := sc.list.next(sc.cut); err != nil {
			return err
		}
	}
	return sc.tell(ctx)
}

// put puts a record, from a byte on, into this chunk and as many further ones
// as it takes.
func (sc *scanner) put(ctx context.Context, r Record, from int64) error {
	for {
		length, whole := sc.cut.take(r, from)
		if length > 0 || whole {
			part := r
			if from > 0 || !whole {
				part.Parts = []Part{{Piece: sc.list.mark.Ordinal, Offset: from, Length: length}}
			}
			if err := sc.list.add(part, length); err != nil {
				return err
			}
			if from == 0 {
				sc.list.mark.Scan.Found.add(r)
			}
			from += length
		}
		if whole {
			sc.list.mark.Scan.After, sc.list.mark.Scan.Rest = []byte(r.key()), nil
			return nil
		}
		if err := sc.close(ctx, &r, from); err != nil {
			return err
		}
	}
}

// tell brings the row up to date now and then.
func (sc *scanner) tell(ctx context.Context) error {
	if sc.list.mark.Records%1024 != 0 {
		return nil
	}
	now := sc.s.now()
	if now.Sub(sc.told) < sc.s.settings.Interval {
		return ctx.Err()
	}
	sc.told = now
	return sc.s.tellScan(ctx, sc.row, sc.list.mark.Scan.Found)
}
