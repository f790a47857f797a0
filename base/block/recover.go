package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/firth-project/firth/base/fault"
)

// openLog brings the index up to date with the segments: it reads what was
// written after the last checkpoint, or all, when the index is no good.
func openLog(ctx context.Context, fs files, lock io.Closer, logger *slog.Logger, t tuning) (*log, error) {
	for _, folder := range []string{segmentFolder, indexFolder} {
		if err := fs.mkdir(folder); err != nil {
			return nil, classify(err, "make %s in %s", folder, fs)
		}
	}
	if err := fs.sync("."); err != nil {
		return nil, classify(err, "sync %s", fs)
	}
	l := &log{tuning: t, fs: fs, lock: lock, logger: logger, segments: map[uint32]*segment{}}
	l.idx = newIndex(fs, logger, t.memEntries)
	l.idx.ordered = true
	l.idx.publish = l.publish
	l.idx.spoil = l.spoil
	l.idx.start()
	err := l.recover(ctx)
	if err != nil {
		_ = l.idx.stop()
		l.closeSegments()
		return nil, err
	}
	return l, nil
}

// publish makes a list of runs the one that the next start uses.
func (l *log) publish(runs []string, state any) error {
	if l.spoiled.Load() {
		return fault.Mark(fault.Unavailable, errSpoiled)
	}
	cp, ok := state.(checkpoint)
	if !ok {
		return fault.New(fault.Internal, "publish the index of %s: %T is no checkpoint", l.fs, state)
	}
	return classify(writeManifest(l.fs, manifest{runs, cp}), "write %s in %s", manifestName, l.fs)
}

// spoil takes the manifest away, so that the next start does not trust it.
func (l *log) spoil(cause error) {
	if l.spoiled.Swap(true) {
		return
	}
	l.logger.Error("index is corrupt", "err", cause)
	if err := l.fs.remove(manifestName); err != nil {
		l.logger.Error("manifest not removed", "err", err)
	}
}

func (l *log) recover(ctx context.Context) error {
	m, err := l.loadIndex()
	if err != nil {
		return err
	}
	ids, err := l.segmentIDs()
	if err != nil {
		return err
	}
	if lost := m.lost(ids); lost != 0 {
		l.logger.Error("segment is missing, index is rebuilt from the others", "segment", segmentName(lost))
		m = manifest{}
		if err := l.dropRuns(nil); err != nil {
			return err
		}
	}
	l.blocks, l.lastID = m.Blocks, m.Segment
	for i, id := range ids {
		if err := l.recoverSegment(ctx, m, id, i == len(ids)-1); err != nil {
			return err
		}
	}
	if s := l.segments[l.lastID]; s != nil && s.Size < l.segmentBytes {
		l.active = s
		s.reserved = s.Size
	}
	return nil
}

// lost returns a segment that the manifest names and the disk has not; 0 when
// all are there.
func (m *manifest) lost(ids []uint32) uint32 {
	for _, s := range m.Segments {
		if _, ok := slices.BinarySearch(ids, s.ID); !ok {
			return s.ID
		}
	}
	return 0
}

// loadIndex opens the runs of the manifest. Without a good manifest and all of
// its runs it returns an empty one: everything is read again.
func (l *log) loadIndex() (manifest, error) {
	m, err := readManifest(l.fs)
	if err != nil && !errors.Is(err, errNoManifest) {
		return m, err
	}
	var runs []*run
	for _, name := range m.Runs {
		r, err := openRun(l.fs, name)
		if err != nil && !isAbsent(err) && !errors.Is(err, errSpoiled) {
			return m, err
		}
		if err != nil {
			l.logger.Error("index is rebuilt from the segments", "err", err)
			m, runs = manifest{}, nil
			break
		}
		runs = append(runs, r)
	}
	l.idx.runs, l.idx.state = runs, m.checkpoint
	return m, l.dropRuns(runs)
}

// dropRuns makes keep the runs of the index and removes the other files.
func (l *log) dropRuns(keep []*run) error {
	l.idx.runs = keep
	files, err := l.fs.list(indexFolder)
	if err != nil {
		return classify(err, "list %s in %s", indexFolder, l.fs)
	}
	wanted := names(keep)
	for _, f := range files {
		name := indexFolder + "/" + f
		var n int
		if _, err := fmt.Sscanf(f, "%d.run", &n); err == nil {
			l.idx.next = max(l.idx.next, n)
		}
		if !slices.Contains(wanted, name) {
			if err := l.fs.remove(name); err != nil {
				return classify(err, "remove %s in %s", name, l.fs)
			}
		}
	}
	return nil
}

// segmentIDs returns the segments on disk in order.
func (l *log) segmentIDs() ([]uint32, error) {
	files, err := l.fs.list(segmentFolder)
	if err != nil {
		return nil, classify(err, "list %s in %s", segmentFolder, l.fs)
	}
	var ids []uint32
	for _, f := range files {
		var id uint32
		if _, err := fmt.Sscanf(f, "%d.car", &id); err == nil && segmentName(id) == segmentFolder+"/"+f && id > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// recoverSegment opens one segment and reads what the index does not know.
func (l *log) recoverSegment(ctx context.Context, m manifest, id uint32, last bool) error {
	state, known := m.state(id)
	if !known && id <= m.Segment { // compaction was done with it, or it never began
		return classify(l.fs.remove(segmentName(id)), "remove segment %s in %s", segmentName(id), l.fs)
	}
	f, err := l.fs.open(segmentName(id))
	if err != nil {
		return classify(err, "open segment %s in %s", segmentName(id), l.fs)
	}
	s := &segment{segmentState: state, file: f}
	s.ID = id
	l.mu.Lock()
	l.segments[id] = s
	l.mu.Unlock()
	size, err := f.size()
	if err != nil {
		return classify(err, "open segment %s in %s", segmentName(id), l.fs)
	}
	if known && size < state.Size {
		l.logger.Error("segment has lost its end", "segment", segmentName(id), "bytes", size, "expected", state.Size)
		s.Damaged = true
		l.lastID = max(l.lastID, id)
		if last {
			l.lastID++ // its places are taken: write on elsewhere
		}
		return nil
	}
	if known && id < m.Segment {
		return nil
	}
	l.lastID = max(l.lastID, id)
	return l.replay(ctx, s, size, last)
}

// replay reads the sections from s.Size on. The last segment may end in what a
// killed process left half written; that is cut off.
func (l *log) replay(ctx context.Context, s *segment, size int64, last bool) error {
	from := s.Size
	if from == 0 {
		from = int64(len(segmentHeader))
		head := make([]byte, len(segmentHeader))
		n, err := s.file.ReadAt(head, 0)
		if err != nil && err != io.EOF {
			return classify(err, "read segment %s in %s", segmentName(s.ID), l.fs)
		}
		if string(head[:n]) != segmentHeader {
			return l.headless(s, size, last && n < len(head))
		}
		s.Size = from
	}
	bad := false
	end, err := scan(s.file, from, size, func(sec section) error {
		if sec.bad {
			bad = true
			return ctx.Err()
		}
		s.Damaged = s.Damaged || bad // and good ones after it: no torn end
		bad = false
		return l.learn(ctx, s, sec)
	})
	if err != nil && !errors.Is(err, errFraming) {
		return fault.Wrap(err, "read segment %s in %s", segmentName(s.ID), l.fs)
	}
	torn := bad || end < size
	if torn && !last {
		s.Damaged = true
		l.logger.Error("segment is damaged", "segment", segmentName(s.ID), "offset", s.Size)
	}
	if torn && last {
		l.logger.Warn("unfinished write cut off", "segment", segmentName(s.ID), "offset", s.Size, "bytes", size-s.Size)
		if err := s.file.truncate(s.Size); err != nil {
			return classify(err, "cut segment %s in %s", segmentName(s.ID), l.fs)
		}
	}
	// What the kill left in the page cache counts as held from now on.
	if err := errors.Join(s.file.sync(), l.fs.sync(segmentFolder)); err != nil {
		return classify(err, "sync segment %s in %s", segmentName(s.ID), l.fs)
	}
	return nil
}

// headless deals with a segment that does not begin as one: the last one, cut
// short, was being born.
func (l *log) headless(s *segment, size int64, born bool) error {
	if !born {
		s.Damaged, s.Size = true, size
		l.logger.Error("segment has no header, its blocks are missing", "segment", segmentName(s.ID))
		l.lastID++
		return nil
	}
	l.mu.Lock()
	delete(l.segments, s.ID)
	l.mu.Unlock()
	err := errors.Join(s.file.Close(), l.fs.remove(segmentName(s.ID)))
	return classify(err, "remove segment %s in %s", segmentName(s.ID), l.fs)
}

// learn enters one section into the index.
func (l *log) learn(ctx context.Context, s *segment, sec section) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch, err := l.changeOf(s, sec)
	if err != nil {
		return err
	}
	s.Size = sec.off + sec.bytes()
	l.unsealed += sec.bytes()
	l.apply([]change{ch})
	if l.idx.full() || l.unsealed >= l.checkpointBytes {
		_, err := l.seal()
		return err
	}
	return nil
}

// changeOf says what a section that was found in the log changes.
func (l *log) changeOf(s *segment, sec section) (change, error) {
	place := rankAt(s.ID, sec.off)
	var ch change
	if sec.isBlock() {
		ch.entry = sec.entry(s.ID, place)
	} else {
		codec, rank, h := sec.mark()
		ch.entry = entry{loc: loc{seg: s.ID, off: uint32(sec.off), size: uint32(len(sec.data)), head: uint8(sec.head), rank: rank, flag: dead}}
		if codec != codecTombstone {
			ch.carried = true
			return ch, nil
		}
		ch.key, _ = keyOf(h)
	}
	ch.flag |= verified
	cur, ok, err := l.idx.find(ch.key)
	if err != nil {
		return ch, err
	}
	if ok && cur.rank > ch.rank { // a tombstone carried past a newer copy
		ch.carried = true
		return ch, nil
	}
	ch.old, ch.replaces = cur.loc, ok && !cur.has(dead)
	ch.carried = ch.has(dead) && !ok
	return ch, nil
}
