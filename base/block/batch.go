package block

// batch gathers the sections of a commit until they are written: at its end, and
// where a segment is full.
type batch struct {
	log     *log
	seen    map[key]loc // what this commit has placed
	changes []change
	bufs    [][]byte
	heads   []byte
	size    int64
}

// reset empties the batch, keeping its memory for the next commit.
func (p *batch) reset(l *log) {
	const keep = 1 << 14
	p.log, p.size = l, 0
	if len(p.seen) > keep || cap(p.bufs) > keep || p.seen == nil {
		p.seen, p.bufs, p.changes, p.heads = map[key]loc{}, nil, nil, nil
	}
	clear(p.seen)
	p.emptied()
}

// emptied forgets what is written, or never will be.
func (p *batch) emptied() {
	clear(p.bufs)
	p.changes, p.bufs, p.heads, p.size = p.changes[:0], p.bufs[:0], p.heads[:0], 0
}

func (p *batch) add(it *item, epoch uint64) error {
	cur, known, err := p.current(it.key, epoch)
	if err != nil {
		return err
	}
	ch := change{old: cur.loc, replaces: known && !cur.has(dead)}
	if !it.due(cur.loc, ch.replaces) {
		return nil
	}
	if err := p.room(it); err != nil {
		return err
	}
	seg := p.log.active
	off := seg.Size + p.size
	rank := rankAt(seg.ID, off)
	start := len(p.heads)
	e := loc{rank: rank, seg: seg.ID, off: uint32(off), size: uint32(len(it.data)), flag: it.flag | verified}
	if it.flag&dead == 0 {
		p.heads = appendHead(p.heads, it.cid, len(it.data))
		e.head = uint8(len(p.heads) - start)
		p.bufs = append(p.bufs, p.heads[start:], it.data)
	} else {
		if it.rank != 0 {
			e.rank, ch.carried = it.rank, true
		}
		p.heads = tombstone(p.heads, e.rank, it.cid.Hash())
		e.size = uint32(8 + len(it.cid.Hash()))
		e.head = uint8(len(p.heads) - start - int(e.size))
		p.bufs = append(p.bufs, p.heads[start:])
	}
	ch.entry = entry{key: it.key, loc: e}
	p.size += e.bytes()
	p.changes = append(p.changes, ch)
	if !ch.carried {
		p.seen[it.key] = e
	}
	return nil
}

// due reports whether the item changes anything, cur being the live entry of
// its key if there is one.
func (it *item) due(cur loc, live bool) bool {
	switch {
	case it.from != nil: // moved or quarantined: only that copy
		return live && cur.at(it.from.loc)
	case it.flag&dead == 0:
		return !live
	case it.rank != 0: // carried on
		return !live
	}
	return live
}

// current is what holds for a key after what this commit has placed so far.
func (p *batch) current(k key, epoch uint64) (entry, bool, error) {
	if l, ok := p.seen[k]; ok {
		return entry{key: k, loc: l}, true, nil
	}
	if epoch != unknownEpoch {
		if e, hit, same := p.log.idx.since(k, epoch); same {
			return e, hit, nil
		}
	}
	return p.log.idx.find(k)
}

// room makes sure that the item fits into the active segment, beginning a new
// one if need be.
func (p *batch) room(it *item) error {
	need := int64(len(it.data)) + 2*int64(it.cid.ByteLen()) + 64
	l := p.log
	if l.active != nil {
		end := l.active.Size + p.size
		if end+need <= l.segmentBytes || end == int64(len(segmentHeader)) {
			return nil
		}
		if err := p.write(); err != nil {
			return err
		}
	}
	return l.roll()
}

// write makes the gathered sections durable, then known.
func (p *batch) write() error {
	if len(p.changes) == 0 {
		return nil
	}
	l, s := p.log, p.log.active
	if end := s.Size + p.size; end > s.reserved {
		s.reserved = end + min(max(end, 1<<20), 64<<20)
		s.file.reserve(s.Size, s.reserved-s.Size)
	}
	l.broken = true
	err := s.file.append(p.bufs, s.Size)
	if err == nil {
		err = s.file.sync()
	}
	if err != nil {
		if rerr := l.repair(); rerr != nil {
			l.logger.Error("segment not cut back", "segment", segmentName(s.ID), "err", rerr)
		}
		return classify(err, "write segment %s in %s", segmentName(s.ID), l.fs)
	}
	l.broken = false
	l.mu.Lock()
	s.Size += p.size
	l.mu.Unlock()
	l.unsealed += p.size
	l.apply(p.changes)
	p.emptied()
	return nil
}

// repair cuts the active segment back to what was acknowledged after a write
// that failed. Until it succeeds nothing more is written: bytes that nobody was
// promised must not come back after a restart.
func (l *log) repair() error {
	if !l.broken || l.active == nil {
		return nil
	}
	s := l.active
	s.reserved = s.Size
	if err := s.file.truncate(s.Size); err != nil {
		return classify(err, "cut segment %s in %s", segmentName(s.ID), l.fs)
	}
	if err := s.file.sync(); err != nil {
		return classify(err, "cut segment %s in %s", segmentName(s.ID), l.fs)
	}
	l.broken = false
	return nil
}
