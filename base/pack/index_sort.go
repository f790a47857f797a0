package pack

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"slices"
)

// sortLimit is how many records are sorted at a time: 16 MiB.
const sortLimit = 1 << 20

// keyed is a record's number with the first eight bytes of its digest, by
// which ordinals are sorted; equal ones stay in the order of the CAR.
type keyed struct {
	key uint64
	n   uint32
}

func keyOf(digest []byte) uint64 { return binary.BigEndian.Uint64(digest) }

// sorter writes the ordinals of a spool's records by digest. It looks through
// the records once for each limit of them, and once more to see how they
// spread.
type sorter struct {
	ctx   context.Context
	s     *Spool
	w     *bufio.Writer
	limit int64
	batch []keyed
}

func (s *Spool) writeOrdinals(ctx context.Context, w io.Writer, limit int64) error {
	x := &sorter{ctx: ctx, s: s, w: bufio.NewWriter(w), limit: limit}
	x.batch = make([]keyed, 0, min(limit, s.Records()))
	if err := x.sort(0, 0, s.Records()); err != nil {
		return err
	}
	return x.w.Flush()
}

// each visits the keys of all records in order.
func (x *sorter) each(visit func(key uint64, n uint32) error) error {
	const many = 1024
	var buf [many * recordSize]byte
	for first, all := int64(0), x.s.Records(); first < all; first += many {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(many, all-first)*recordSize]
		if err := x.s.records.read(b, first*recordSize); err != nil {
			return err
		}
		for i := 0; i < len(b); i += recordSize {
			if err := visit(keyOf(b[i+24:]), uint32(first)+uint32(i/recordSize)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sort writes the count records whose keys begin with the top known bits of
// prefix.
func (x *sorter) sort(prefix uint64, known int, count int64) error {
	switch {
	case count <= x.limit:
		return x.pass(prefix, prefix|^uint64(0)>>known)
	case known == 64: // all alike, so they are in order as they come
		return x.each(func(key uint64, n uint32) error {
			if key != prefix {
				return nil
			}
			return x.put(n)
		})
	}
	const width = 16
	shift := 64 - known - width
	spread := make([]uint32, 1<<width)
	err := x.each(func(key uint64, _ uint32) error {
		if known == 0 || key>>(64-known) == prefix>>(64-known) {
			spread[key>>shift&(1<<width-1)]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := 0; i < len(spread); {
		from, sum := i, int64(spread[i])
		for i++; i < len(spread) && sum+int64(spread[i]) <= x.limit; i++ {
			sum += int64(spread[i])
		}
		low := prefix | uint64(from)<<shift
		if sum > x.limit { // then it is one
			err = x.sort(low, known+width, sum)
		} else {
			err = x.pass(low, prefix|uint64(i-1)<<shift|(1<<shift-1))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pass sorts and writes the records with keys from low to high, which are not
// more than the limit.
func (x *sorter) pass(low, high uint64) error {
	x.batch = x.batch[:0]
	err := x.each(func(key uint64, n uint32) error {
		if key >= low && key <= high {
			x.batch = append(x.batch, keyed{key, n})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(x.batch, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.n, b.n)) })
	for _, k := range x.batch {
		if err := x.put(k.n); err != nil {
			return err
		}
	}
	return nil
}

func (x *sorter) put(n uint32) error {
	_, err := x.w.Write(binary.LittleEndian.AppendUint32(x.w.AvailableBuffer(), n))
	return err
}
