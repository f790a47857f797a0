package indexdag

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-varint"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	maxSections = 16 << 20 // of a CAR that is looked through: 384 MiB of memory
	maxCIDBytes = 256      // of a section
	maxSection  = dag.MaxBlockSize + maxCIDBytes
	maxHead     = maxCIDBytes + binary.MaxVarintLen64
)

// sections says where the blocks of a CAR are: 24 bytes a block, by the end of
// their digest. What it says is a guess that is checked by reading.
type sections struct {
	list   []section
	broken error // why what follows is unknown
}

type section struct {
	print  uint64 // last 8 bytes of the digest
	offset int64  // of the block's bytes
	size   uint32
}

func printOf(c cid.Cid) uint64 {
	h := c.Hash()
	var last [8]byte
	copy(last[:], h[max(0, len(h)-8):])
	return binary.BigEndian.Uint64(last[:])
}

// of returns where a block may be.
func (s *sections) of(c cid.Cid) []section {
	print := printOf(c)
	i, _ := slices.BinarySearchFunc(s.list, print, func(s section, p uint64) int { return cmp.Compare(s.print, p) })
	end := i
	for end < len(s.list) && s.list[end].print == print {
		end++
	}
	return s.list[i:end]
}

// parseSection reads the head of a section. What is left of b when it is cut
// off is not enough: short is true.
func parseSection(b []byte) (c cid.Cid, head, size int, short bool, err error) {
	length, n, err := varint.FromUvarint(b)
	if err != nil {
		short = errors.Is(err, varint.ErrUnderflow) && len(b) < binary.MaxVarintLen64
		return cid.Undef, 0, 0, short, fault.New(fault.Invalid, "section of a CAR: %w", err)
	}
	if length == 0 || length > maxSection {
		return cid.Undef, 0, 0, false, fault.New(fault.Invalid, "section of a CAR: of %d bytes", length)
	}
	body := b[n:min(len(b), n+min(int(length), maxCIDBytes))]
	m, c, err := cid.CidFromBytes(body)
	if err != nil {
		return cid.Undef, 0, 0, len(body) < maxCIDBytes && len(body) < int(length), fault.New(fault.Invalid, "section of a CAR: %w", err)
	}
	return c, n + m, int(length) - m, false, nil
}

// scanSections goes through the section heads of a CAR of size bytes, as far as
// they can be made out. Zeros to the end are padding. Reads grow while sections
// are small and shrink when they are skipped over. Its error is that of ctx, or
// Unavailable.
func scanSections(ctx context.Context, size int64, readAt func(p []byte, at int64) (int, error)) (*sections, error) {
	s := &sections{}
	w := scanning{size: size, readAt: readAt, next: 4 << 10}
	at, err := w.header()
	for err == nil && at < size {
		if err = ctx.Err(); err != nil {
			break
		}
		var b []byte
		if b, err = w.peek(at, maxHead); err != nil || len(b) == 0 || b[0] == 0 {
			break
		}
		c, head, n, _, bad := parseSection(b)
		if bad != nil {
			err = bad
			break
		}
		if len(s.list) == maxSections {
			err = fault.New(fault.Exhausted, "more than %d blocks to look through", maxSections)
			break
		}
		s.list = append(s.list, section{printOf(c), at + int64(head), uint32(n)})
		at += int64(head) + int64(n)
	}
	if err != nil {
		err = fault.Wrap(err, "look through a CAR at byte %d", at)
	}
	if ctx.Err() != nil || fault.Is(err, fault.Unavailable) {
		return nil, err
	}
	s.broken = err
	slices.SortFunc(s.list, func(a, b section) int { return cmp.Compare(a.print, b.print) })
	return s, nil
}

// scanning is a window over a CAR that moves forward.
type scanning struct {
	size   int64
	readAt func(p []byte, at int64) (int, error)
	buf    []byte
	at     int64 // of buf
	next   int   // bytes of the next read
}

// peek returns up to n bytes at an offset, fewer only at the end.
func (w *scanning) peek(at int64, n int) ([]byte, error) {
	end := min(at+int64(n), w.size)
	if at >= w.at && end <= w.at+int64(len(w.buf)) {
		return w.buf[at-w.at : end-w.at], nil
	}
	if at > w.at+int64(len(w.buf))+int64(w.next) {
		w.next = 4 << 10
	} else {
		w.next = min(2*w.next, 1<<20)
	}
	want := int(min(int64(max(w.next, n)), w.size-at))
	w.buf, w.at = slices.Grow(w.buf[:0], want)[:want], at
	got, err := w.readAt(w.buf, at)
	if got < want {
		w.buf = w.buf[:0]
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	return w.buf[:end-at], nil
}

// header passes over the header of a CARv1.
func (w *scanning) header() (int64, error) {
	b, err := w.peek(0, binary.MaxVarintLen64)
	if err != nil {
		return 0, err
	}
	length, n, err := varint.FromUvarint(b)
	if err != nil || length < 11 || length > 1<<20 {
		return 0, fault.New(fault.Invalid, "not the header of a CARv1")
	}
	return int64(n) + int64(length), nil
}

// inTail finds a block among the bytes a CAR ends with. The nodes a piece has
// for itself, such as the roots of parts, stand there.
func inTail(tail []byte, c cid.Cid) ([]byte, bool) {
	name := c.Bytes()
	for from := 0; ; {
		i := bytes.Index(tail[from:], name)
		if i < 0 {
			return nil, false
		}
		at := from + i
		for n := 1; n <= 4 && n <= at; n++ {
			length, used, err := varint.FromUvarint(tail[at-n : at])
			size := int(min(length, maxSection)) - len(name)
			if err != nil || used != n || size < 0 || at+len(name)+size > len(tail) {
				continue
			}
			data := tail[at+len(name) : at+len(name)+size]
			if verify(c, data) == nil {
				return slices.Clone(data), true
			}
		}
		from = at + 1
	}
}
