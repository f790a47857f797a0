package piece

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-varint"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

const (
	// maxOwnHeader is how many bytes of CAR header an index holds: about a hundred
	// roots.
	maxOwnHeader = 4096
	pragmaV2     = "\x0a\xa1\x67version\x02"
	headV2       = 40 // bytes after the pragma
)

// section is a block in the CAR, its bytes in a window.
type section struct {
	number int
	offset int64
	form   pack.Form
	digest [32]byte
	cid    cid.Cid // only where its links are wanted
	data   []byte
}

// begin reads the head of a CARv2, if it is one, and the CAR's header, which
// stays in the stream: it is a part of the piece. The payload of a CARv2 is the
// piece, its index is not.
func (s *scan) begin() error {
	pragma, err := s.in.Peek(len(pragmaV2))
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(err, "read CAR")
	}
	if what := notCAR(pragma); what != "" {
		return s.broken(dag.CARBadHeader, fmt.Errorf("this is no CAR, it begins like %s", what))
	}
	if string(pragma) == pragmaV2 {
		if err := s.unwrap(); err != nil {
			return err
		}
	}
	if s.hint > s.limit {
		return tooLarge(s.hint, s.limit)
	}
	length, used, err := s.headerLength()
	if err != nil {
		return err
	}
	b, err := s.in.Peek(used + length)
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(err, "read CAR")
	}
	if string(b) == pragmaV2 {
		return s.broken(dag.CARBadVersion, errors.New("a CARv2 inside a CARv2"))
	}
	if err := s.readHeader(b); err != nil {
		return err
	}
	s.skip = len(b)
	return nil
}

// wantRoots looks for the wanted root among the CAR's roots.
func (s *scan) wantRoots() {
	s.found = !s.want.Defined() || slices.Contains(s.roots, s.want)
	if len(s.roots) == 0 && !s.want.Defined() {
		s.links = &links{to: map[[32]byte]struct{}{}, keep: s.keep != nil}
	}
}

func (s *scan) headerLength() (length, used int, err error) {
	b, err := s.in.Peek(binary.MaxVarintLen64)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fault.Wrap(err, "read CAR")
	}
	if len(b) == 0 {
		return 0, 0, s.broken(dag.CAREmpty, nil)
	}
	n, used, err := varint.FromUvarint(b)
	if err != nil {
		return 0, 0, s.broken(dag.CARBadHeader, err)
	}
	if n > maxOwnHeader-uint64(used) {
		return 0, 0, s.broken(dag.CARTooLarge, fmt.Errorf("header of %d bytes, an index holds %d, about a hundred roots", n, maxOwnHeader))
	}
	return int(n), used, nil
}

// unwrap steps over the head of a CARv2 and bounds the stream to its payload.
func (s *scan) unwrap() error {
	var head [len(pragmaV2) + headV2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return s.cutShort(err)
	}
	le := binary.LittleEndian
	offset, size := le.Uint64(head[len(pragmaV2)+16:]), le.Uint64(head[len(pragmaV2)+24:])
	switch {
	case offset < uint64(len(head)) || offset > 1<<40:
		return s.broken(dag.CARBadHeader, fmt.Errorf("data at byte %d of a CARv2", offset))
	case size == 0 || size > 1<<61:
		return s.broken(dag.CARBadHeader, fmt.Errorf("CARv2 with data of %d bytes", size))
	case int64(size) > s.limit:
		return tooLarge(int64(size), s.limit)
	}
	if _, err := io.CopyN(io.Discard, s.in, int64(offset)-int64(len(head))); err != nil {
		return s.cutShort(err)
	}
	s.at, s.inner = int64(offset), int64(size)
	s.bound()
	return nil
}

// bound ends the stream where the data of a CARv2 do.
func (s *scan) bound() {
	if s.inner > 0 {
		s.hint = s.inner
		s.in = bufio.NewReaderSize(&payload{s.in, s.inner - s.size}, 64<<10)
	}
}

// payload is the data of a CARv2; a stream that ends before is cut short.
type payload struct {
	r    io.Reader
	left int64
}

func (p *payload) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	if errors.Is(err, io.EOF) && p.left > 0 {
		err = fault.New(fault.Invalid, "CARv2 is cut off: %d bytes of its data are missing", p.left)
	}
	return n, err
}

// cut takes the whole sections of b, which begins at s.next of the CAR; rest is
// the beginning of the one that goes on in the next window, or of the padding.
func (s *scan) cut(b []byte, last bool) (all []section, rest []byte, err error) {
	skip := min(s.skip, len(b))
	b, s.skip = b[skip:], s.skip-skip
	for len(b) > 0 {
		if b[0] == 0 && s.ends() {
			return all, b, nil
		}
		s.count++
		one, n, err := s.section(b, last)
		if err != nil {
			return nil, nil, err
		}
		if n == 0 {
			s.count--
			return all, b, nil
		}
		all, b = append(all, one), b[n:]
	}
	return all, nil, nil
}

// section reads the section b begins with; n is 0 if it goes on behind b.
func (s *scan) section(b []byte, last bool) (one section, n int, err error) {
	length, used, err := varint.FromUvarint(b)
	switch {
	case errors.Is(err, varint.ErrUnderflow) && !last:
		return one, 0, nil
	case errors.Is(err, varint.ErrUnderflow):
		return one, 0, s.broken(dag.CARTruncated, nil)
	case err != nil:
		return one, 0, s.broken(dag.CARBadVarint, err)
	case length == 0:
		return one, 0, s.broken(dag.CARZeroSection, fmt.Errorf("zeros follow the blocks, which end at byte %d of the CAR; give a copy that is cut off there", s.next))
	case length > dag.MaxBlockSize+256:
		return one, 0, s.broken(dag.CARTooLarge, fmt.Errorf("section of %d bytes, blocks are limited to %d", length, dag.MaxBlockSize))
	case int(length) > len(b)-used && last:
		return one, 0, s.broken(dag.CARTruncated, fmt.Errorf("%d bytes announced, %d left", length, len(b)-used))
	case int(length) > len(b)-used:
		return one, 0, nil
	}
	body := b[used : used+int(length)]
	k, c, err := cid.CidFromBytes(body)
	if err != nil {
		return one, 0, s.broken(dag.CARBadCID, err)
	}
	r, err := pack.NewRecord(c, s.next, len(body)-k)
	if err != nil {
		return one, 0, s.broken(dag.CARBadCID, err)
	}
	if r.Section() != int64(used+len(body)) {
		return one, 0, s.broken(dag.CARBadVarint, errors.New("the CID is not written the shortest way"))
	}
	one = section{number: s.count, offset: s.next, form: r.Form, digest: r.Digest, data: body[k:]}
	if s.links != nil {
		one.cid = c
	}
	return one, used + len(body), s.add(r, c)
}

// add takes the section that comes next.
func (s *scan) add(r pack.Record, c cid.Cid) error {
	r.From, r.Position = s.from, s.next+r.Section()-int64(r.Size)
	if err := s.spool.Add(r); err != nil {
		return err
	}
	s.next += r.Section()
	s.found = s.found || c.Equals(s.want)
	return nil
}

func (s *scan) broken(f dag.CARFault, detail error) error {
	return fault.Mark(fault.Invalid, &dag.CARError{Fault: f, Section: s.count, Offset: s.next, Err: detail})
}

func (s *scan) cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.broken(dag.CARTruncated, nil)
	}
	return fault.Wrap(err, "read CAR")
}

// hash computes the digests of sections and the commitment of a window.
func (s *scan) hash(off int64, raw []byte, sections []section) {
	err := s.tree.SetAt(off, raw)
	data, sums := make([][]byte, len(sections)), make([][32]byte, len(sections))
	for i, one := range sections {
		data[i] = one.data
	}
	pack.Digests(sums, data, func(i int) pack.Form { return sections[i].form })
	for i, one := range sections {
		if sums[i] != one.digest {
			s.fail(&dag.CARError{
				Fault: dag.CARDigestMismatch, Section: one.number, Offset: one.offset,
				Err: fmt.Errorf("announced digest %x, is %x", one.digest, sums[i]),
			})
			return
		}
		if s.links != nil && err == nil {
			err = s.links.of(one)
		}
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wrong = errors.Join(s.wrong, err)
	}
}

// fail keeps the first damage in the order of the CAR.
func (s *scan) fail(e *dag.CARError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil || e.Offset < s.failed.Offset {
		s.failed = e
	}
}

// chooseRoot says what the piece is about: the root that was wanted, which has
// to be one of the CAR's roots or blocks; else the first of its roots; of a CAR
// without roots the one block that no other links to.
func (s *scan) chooseRoot() (cid.Cid, error) {
	switch {
	case s.spool.Records() == 0:
		return cid.Undef, fault.New(fault.Invalid, "CAR ends behind its header and holds no block; it may be cut off")
	case s.want.Defined() && !s.found:
		return cid.Undef, fault.New(fault.Invalid, "root %s was given, the CAR has %s and no such block", s.want, rootsText(s.roots))
	case s.want.Defined():
		return s.want, nil
	case len(s.roots) > 0:
		return s.roots[0], nil
	}
	var top cid.Cid
	for i := range s.spool.Records() {
		r, err := s.spool.At(i)
		if err != nil {
			return cid.Undef, err
		}
		if r.IsIdentity() { // which nobody links to
			continue
		}
		c, err := r.Cid()
		if err != nil {
			return cid.Undef, err
		}
		if _, linked := s.links.to[r.Digest]; linked || c.Equals(top) {
			continue
		}
		if top.Defined() {
			return cid.Undef, fault.New(fault.Invalid, "CAR names no root, and nothing links to %s nor to %s; say which it is with --root", top, c)
		}
		top = c
	}
	return top, nil
}

func rootsText(roots []cid.Cid) string {
	switch len(roots) {
	case 0:
		return "no root"
	case 1:
		return "root " + roots[0].String()
	}
	return fmt.Sprintf("%d roots, the first %s", len(roots), roots[0])
}

// maxLinks bounds the search for a root: 64 bytes of memory each.
const maxLinks = 4 << 20

// links are the blocks that others link to.
type links struct {
	mu    sync.Mutex
	to    map[[32]byte]struct{}
	keep  bool       // the scan is kept in parts
	fresh [][32]byte // what no part has yet
}

// pending is how many no part has yet.
func (l *links) pending() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.fresh)
}

// of takes the links of a block.
func (l *links) of(one section) error {
	children, err := dag.Children(context.Background(), the(one), one.cid)
	if err != nil {
		return fault.Wrap(err, "CAR section %d at byte %d", one.number, one.offset)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range children {
		r, err := pack.NewRecord(c, 0, 0)
		if _, known := l.to[r.Digest]; err != nil || known {
			continue
		}
		l.to[r.Digest] = struct{}{}
		if l.keep {
			l.fresh = append(l.fresh, r.Digest)
		}
	}
	if len(l.to) > maxLinks {
		return fault.New(fault.Invalid, "CAR names no root and has more than %d links to find it by; say which it is with --root", maxLinks)
	}
	return nil
}

// the is a store of one block.
type the section

// Get implements dag.Getter.
func (b the) Get(context.Context, cid.Cid) (blocks.Block, error) {
	return blocks.NewBlockWithCid(b.data, b.cid)
}
