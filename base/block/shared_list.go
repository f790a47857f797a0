package block

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// refresh reads what was added since the last time: on return, everything that
// was acknowledged before the call is known. Calls that wait for their turn
// share one listing.
func (s *shared) refresh(ctx context.Context) error {
	arrival := s.arrivals.Add(1)
	s.listMu.Lock()
	defer s.listMu.Unlock()
	if err := s.isClosed(); err != nil {
		return err
	}
	if s.listed >= arrival {
		return nil
	}
	serves := s.arrivals.Load()
	if err := s.list(ctx); err != nil {
		return fault.Wrap(err, "list the segments of %s", sharedPrefix)
	}
	s.listed = serves
	return nil
}

// list goes from writer to writer, each from its last key that was seen on. So
// it costs one request a writer, and one for each thousand new objects.
func (s *shared) list(ctx context.Context) error {
	after := ""
	for {
		skip := ""
		for info, err := range s.store.List(ctx, sharedPrefix, after) {
			if err != nil {
				return err
			}
			w := writerOf(info.Key)
			if last := s.seen[w]; info.Key <= last {
				skip = last
				break
			}
			if err := s.meet(ctx, info); err != nil {
				return err
			}
			s.seen[w] = info.Key
		}
		if skip == "" {
			return nil
		}
		after = skip
	}
}

// writerOf returns the part of a key that one writer has to itself.
func writerOf(key string) string {
	if i := strings.LastIndexByte(key, '/'); i > 0 {
		return key[:i]
	}
	return key
}

// meet reads the entries of an object that is new to this process.
func (s *shared) meet(ctx context.Context, info blob.Info) error {
	name, ok := strings.CutSuffix(info.Key, ".idx")
	if !ok {
		return nil
	}
	es, err := s.readEntries(ctx, info)
	if fault.Is(err, fault.NotFound) { // compacted away in between
		return nil
	}
	if errors.Is(err, errSpoiled) {
		s.logger.Error("segment index is corrupt, reading the segment", "segment", name, "err", err)
		es, err = s.readSegment(ctx, name)
	}
	if err != nil {
		return err
	}
	return s.learn(name, es)
}

// An object's index is its entries, without a segment number, between magic and
// CRC-32C.
const (
	entriesMagic   = "firthix1"
	maxIndexBytes  = 64 << 20
	maxObjectItems = 1 << 20 // so that the index stays below maxIndexBytes
)

func encodeEntries(changes []change) []byte {
	b := make([]byte, 0, len(entriesMagic)+len(changes)*entryBytes+4)
	b = append(b, entriesMagic...)
	for _, ch := range changes {
		e := ch.entry
		e.seg = 0
		b = e.append(b)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeEntries(name string, b []byte) ([]entry, error) {
	n := len(b) - len(entriesMagic) - 4
	if n < 0 || n%entryBytes != 0 || !bytes.HasPrefix(b, []byte(entriesMagic)) ||
		crc32.Checksum(b[:len(b)-4], castagnoli()) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, errIndex(name, "its bytes are not what was written")
	}
	es := make([]entry, 0, n/entryBytes)
	for b = b[len(entriesMagic):]; len(b) > 4; b = b[entryBytes:] {
		e := decodeEntry(b)
		if e.size > maxSectionBytes {
			return nil, errIndex(name, "a block is too large")
		}
		es = append(es, e)
	}
	return es, nil
}

func (s *shared) readEntries(ctx context.Context, info blob.Info) ([]entry, error) {
	if info.Size > maxIndexBytes {
		return nil, errIndex(info.Key, "it is too large")
	}
	r, err := s.store.Get(ctx, info.Key, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxIndexBytes+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return decodeEntries(info.Key, b)
}

// readSegment makes the entries again from the segment itself.
func (s *shared) readSegment(ctx context.Context, name string) ([]entry, error) {
	info, err := s.store.Stat(ctx, name+".car")
	if err != nil {
		return nil, err
	}
	var es []entry
	_, err = s.scanObject(ctx, &object{name: name, size: info.Size}, func(sec section, rank uint64) error {
		if sec.bad {
			return nil
		}
		if sec.isBlock() {
			es = append(es, sec.entry(0, rank))
		} else if codec, rank, h := sec.mark(); codec == codecTombstone {
			k, _ := keyOf(h)
			es = append(es, entry{key: k, loc: loc{rank: rank, off: uint32(sec.off), size: uint32(len(sec.data)), head: uint8(sec.head), flag: dead}})
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFraming) {
		return nil, err
	}
	return es, nil
}

// scanObject calls visit with each section and the rank that holds there.
func (s *shared) scanObject(ctx context.Context, o *object, visit func(sec section, rank uint64) error) (int64, error) {
	var rank uint64
	r := rangeReader{ctx: ctx, s: s, o: o}
	return scan(r, int64(len(segmentHeader)), o.size, func(sec section) error {
		if codec, r, _ := sec.mark(); codec == codecRank && !sec.bad {
			rank = r
			return nil
		}
		return visit(sec, rank)
	})
}

// rangeReader reads an object by ranges.
type rangeReader struct {
	ctx context.Context
	s   *shared
	o   *object
}

func (r rangeReader) ReadAt(p []byte, off int64) (int, error) {
	if rest := r.o.size - off; int64(len(p)) > rest {
		p = p[:max(0, rest)]
		if len(p) == 0 {
			return 0, io.EOF
		}
	}
	if err := r.s.fetch(r.ctx, r.o, off, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// learn enters the entries of an object, whatever order objects come in.
// listMu is held.
func (s *shared) learn(name string, es []entry) error {
	o := &object{name: name, size: int64(len(segmentHeader))}
	s.mu.Lock()
	s.objects = append(s.objects, o)
	seg := uint32(len(s.objects))
	s.mu.Unlock()
	changes := make([]change, 0, len(es))
	for _, e := range es {
		e.seg = seg
		changes = append(changes, change{entry: e})
	}
	return s.apply(changes)
}

// apply enters changes of one object; listMu is held.
func (s *shared) apply(changes []change) error {
	for i := range changes {
		ch := &changes[i]
		cur, ok, err := s.idx.find(ch.key)
		if err != nil {
			return err
		}
		ch.carried = ok && s.newer(cur, ch.entry) // outranked: dead on arrival
		s.count(ch, cur, ok && !cur.has(dead))
	}
	s.idx.put(changes)
	if s.idx.full() {
		_, err := s.idx.seal(nil)
		return err
	}
	return nil
}

// count keeps the numbers of objects; live says that cur is a live block.
func (s *shared) count(ch *change, cur entry, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[ch.seg-1]
	o.size = max(o.size, int64(ch.off)+ch.bytes())
	s.clock = max(s.clock, ch.rank>>generationBits)
	if ch.carried {
		return
	}
	if live {
		s.blocks--
		s.objects[cur.seg-1].live -= cur.bytes()
	}
	o.live += ch.bytes()
	if ch.has(dead) {
		o.keep += ch.bytes()
	} else {
		s.blocks++
	}
}
