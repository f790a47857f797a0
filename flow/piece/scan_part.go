package piece

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-varint"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// A scan that was cut short goes on from its parts. A part is what was found in
// a run of whole sections: the heads of the sections, which are the CAR with the
// blocks left out, and the roots of the slots that end before the next section
// does. Integers are uvarints but for the last:
//
//	8 bytes  magic and version
//	where in the CAR the first section begins, 0 for the header; where the last ends
//	where the CAR begins in the stream; its length if the stream is longer, else 0
//	length of the header, 0 but in the first part; sections, slots, links
//	the header, the heads, 32 bytes a slot, 32 bytes a link
//	4 bytes  CRC-32C of everything before, big-endian
const partMagic = "firthpt\x01"

// The limits of a part. A window may begin more sections than maxPartRecords,
// after which a part ends, but not so many that it would outgrow MaxPartBytes.
const (
	maxPartRecords = 1 << 18
	MaxPartBytes   = 64 << 20 // of one encoded
)

// pace says how often a scan is kept; whatever comes first.
type pace struct {
	bytes int64
	after time.Duration
}

// The pace of scans that nobody says otherwise about.
const (
	keepBytes = 1 << 30
	keepAfter = 15 * time.Second
)

// stretch is a run of sections of a scan, which becomes a part.
type stretch struct {
	s           *scan
	begin, end  int64 // of the CAR
	first, last int64 // records, the last not included
	slot, slots int64
	links       [][32]byte
}

// newScan begins a scan; load and then run come after. Close it.
func newScan(o scanning) (*scan, error) {
	s := &scan{scanning: o}
	if s.every.bytes <= 0 {
		s.every.bytes = keepBytes
	}
	if s.every.after <= 0 {
		s.every.after = keepAfter
	}
	return s, s.reset()
}

// reset forgets everything.
func (s *scan) reset() (err error) {
	if s.spool != nil {
		_ = s.spool.Close()
	}
	s.scanned = scanned{}
	s.begun, s.inner, s.roots, s.found, s.skip, s.next, s.count, s.links = false, 0, nil, false, 0, 0, 0, nil
	s.carry, s.failed, s.wrong, s.keptTo, s.keptRecords = nil, nil, nil, 0, 0
	if s.spool, err = unnamedSpool(); err != nil {
		return err
	}
	s.from, err = s.spool.AddSource(pack.Source{Origin: OriginCAR})
	return err
}

// offset is where in the stream the scan goes on.
func (s *scan) offset() int64 { return s.at + s.size }

// read is where in the CAR it goes on: at the last border of slots before the
// next section.
func (s *scan) read() int64 { return s.next / commp.SlotRaw * commp.SlotRaw }

// due reports whether a part should be kept.
func (s *scan) due() bool {
	if s.next == s.keptTo || s.clock().Before(s.notBefore) {
		return false
	}
	return s.size-s.keptTo >= s.every.bytes || s.spool.Records()-s.keptRecords >= maxPartRecords ||
		s.links.pending() >= maxPartRecords || s.clock().Sub(s.keptAt) >= s.every.after
}

// keepUp has what was found since the last part kept. All before has to be
// hashed first: nothing that is not what its CID says gets into a part. That it
// cannot be kept for a while ends nothing; that it is lost to another does.
func (s *scan) keepUp(ctx context.Context) error {
	s.working.Wait()
	if err := s.broke(); err != nil {
		return err
	}
	p := &stretch{
		s: s, begin: s.keptTo, end: s.next, first: s.keptRecords, last: s.spool.Records(),
		slot: s.keptTo / commp.SlotRaw, slots: s.next/commp.SlotRaw - s.keptTo/commp.SlotRaw,
	}
	if s.links != nil {
		p.links = s.links.fresh // nobody hashes now
	}
	err := s.keep(ctx, p)
	switch {
	case err == nil:
		s.kept()
	case ctx.Err() != nil || fault.Is(err, fault.Conflict):
		return err
	default:
		s.notBefore = s.clock().Add(s.every.after)
	}
	return nil
}

// kept notes that everything so far is in parts.
func (s *scan) kept() {
	s.keptTo, s.keptRecords, s.keptAt = s.next, s.spool.Records(), s.clock()
	if s.links != nil {
		s.links.fresh = nil
	}
}

// WriteTo implements io.WriterTo.
func (p *stretch) WriteTo(to io.Writer) (int64, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	counted := &counting{w: io.MultiWriter(to, sum)}
	w := bufio.NewWriterSize(counted, 64<<10)
	var header []byte
	if p.begin == 0 {
		header = p.s.header
	}
	b := []byte(partMagic)
	for _, n := range []int64{p.begin, p.end, p.s.at, p.s.inner, int64(len(header)), p.last - p.first, p.slots, int64(len(p.links))} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	_, _ = w.Write(append(b, header...)) // the flush says if it failed
	for i := p.first; i < p.last; i++ {
		r, err := p.s.spool.At(i)
		if err != nil {
			return counted.n, err
		}
		_, _ = w.Write(r.AppendHead(b[:0]))
	}
	for i := p.slot; i < p.slot+p.slots; i++ {
		root, has := p.s.tree.Root(int(i))
		if !has {
			return counted.n, fault.New(fault.Internal, "slot %d of a part was not hashed", i)
		}
		_, _ = w.Write(root[:])
	}
	for _, l := range p.links {
		_, _ = w.Write(l[:])
	}
	if err := w.Flush(); err != nil {
		return counted.n, err
	}
	_, err := counted.w.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return counted.n + 4, err
}

// stream is the part as something to read. Close it.
func (p *stretch) stream() io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := p.WriteTo(w)
		_ = w.CloseWithError(err)
	}()
	return r
}

// counting counts what it passes on.
type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// load takes the next part. The error is fault.Conflict for what is no part, is
// damaged, or does not follow on what the scan has; the scan is of no use then
// before it is reset.
func (s *scan) load(r io.Reader) error {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	in := &summed{bufio.NewReaderSize(io.LimitReader(r, MaxPartBytes), 64<<10), sum}
	err := s.loadPart(in)
	if err == nil {
		var want [4]byte
		if _, err = io.ReadFull(in.r, want[:]); err == nil && binary.BigEndian.Uint32(want[:]) != sum.Sum32() {
			err = errors.New("its checksum differs")
		}
		if _, more := in.r.ReadByte(); err == nil && !errors.Is(more, io.EOF) {
			err = errors.Join(more, errors.New("goes on behind its end"))
		}
	}
	if err != nil {
		return fault.New(fault.Conflict, "part of a scan: %w", err)
	}
	s.size = s.read()
	s.skip = int(s.next - s.size)
	s.kept()
	return nil
}

func (s *scan) loadPart(in *summed) error {
	magic := make([]byte, len(partMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != partMagic {
		return errors.Join(err, errors.New("does not begin as one"))
	}
	var n [8]int64
	for i := range n {
		v, err := binary.ReadUvarint(in)
		if err != nil || v > math.MaxInt64/4 {
			return errors.Join(err, errors.New("its numbers are out of range"))
		}
		n[i] = int64(v)
	}
	begin, end, sections, slots, links := n[0], n[1], n[5], n[6], n[7]
	if begin != s.next || begin > 0 && (n[2] != s.at || n[3] != s.inner || n[4] != 0) {
		return fmt.Errorf("begins at byte %d of the CAR, the one before ends at %d", begin, s.next)
	}
	slot := s.read() / commp.SlotRaw
	if end < begin || end > s.limit || end/commp.SlotRaw-slot != slots || links > maxLinks {
		return errors.New("its numbers do not fit together")
	}
	if begin == 0 {
		s.at, s.inner = n[2], n[3]
		if err := s.loadHeader(in, n[4]); err != nil {
			return err
		}
	}
	if err := s.loadHeads(in, sections, end); err != nil {
		return err
	}
	if err := s.loadRoots(in, slot, slots); err != nil {
		return err
	}
	return s.loadLinks(in, links)
}

func (s *scan) loadHeader(in io.Reader, length int64) error {
	if length > maxOwnHeader {
		return fmt.Errorf("header of %d bytes, limit %d", length, maxOwnHeader)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(in, header); err != nil {
		return err
	}
	return s.readHeader(header)
}

func (s *scan) loadHeads(in *summed, sections, end int64) error {
	for range sections {
		length, err := varint.ReadUvarint(in)
		if err != nil {
			return err
		}
		k, c, err := cid.CidFromReader(in)
		if err != nil {
			return err
		}
		if length < uint64(k) || length > dag.MaxBlockSize+256 {
			return fmt.Errorf("section of %d bytes", length)
		}
		r, err := pack.NewRecord(c, s.next, int(length)-k)
		if err != nil {
			return err
		}
		s.count++
		if err := s.add(r, c); err != nil {
			return err
		}
	}
	if s.next != end {
		return fmt.Errorf("its sections end at byte %d, it says %d", s.next, end)
	}
	return nil
}

func (s *scan) loadRoots(in io.Reader, slot, slots int64) error {
	if s.tree == nil {
		s.tree = commp.NewTree(0)
	}
	if has, want := s.tree.RawSize(), (slot+slots)*commp.SlotRaw; has < want {
		if err := s.tree.Resize(min(max(2*has, want), commp.MaxTreeRaw)); err != nil {
			return err
		}
	}
	for i := range slots {
		var root commp.Node
		if _, err := io.ReadFull(in, root[:]); err != nil {
			return err
		}
		if err := s.tree.SetRoot(int(slot+i), root); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) loadLinks(in io.Reader, links int64) error {
	if links > 0 && s.links == nil {
		return nil // a root was named since
	}
	for range links {
		var digest [32]byte
		if _, err := io.ReadFull(in, digest[:]); err != nil {
			return err
		}
		s.links.to[digest] = struct{}{}
	}
	return nil
}

// summed sums up what is read.
type summed struct {
	r   *bufio.Reader
	sum io.Writer
}

func (s *summed) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	_, _ = s.sum.Write(b[:n])
	return n, err
}

// ReadByte implements io.ByteReader.
func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		_, _ = s.sum.Write([]byte{b})
	}
	return b, err
}

// readHeader takes the CAR's header, its length included.
func (s *scan) readHeader(b []byte) error {
	c, err := dag.NewCARReader(bytes.NewReader(b), dag.CAROptions{})
	if err != nil {
		return err
	}
	s.header, s.roots, s.next = bytes.Clone(b), c.Roots, int64(len(b))
	s.begun = true
	s.wantRoots()
	return nil
}
