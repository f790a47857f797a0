package pack

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// Damage is a run of a CAR, in whole slots of 127 KiB, whose bytes cannot be had
// or are not those of the piece.
type Damage struct {
	commp.Range
	Reason string
	// Blocks are those the run touches, and Paths the sources they come from, in
	// the order of the CAR; of each the first 100, More is how many records are
	// left out.
	Blocks []cid.Cid
	Paths  []string
	More   int64
}

// maxNamed is how many blocks of one Damage are named.
const maxNamed = 100

// stretch is what Verify reads at a time: 64 slots, 8 MiB.
const stretch = 64 * commp.SlotRaw

// Verify reads the CAR that x describes and compares each slot of it with the
// commitment's tree: the file car, or, where that is nil, the view of what b
// gives. Damage is returned in the order of the CAR. progress, which may be nil,
// is told how many bytes are done. Memory is 17 MiB a processor and 64 bytes for
// each 127 KiB of CAR. An error says that it could not be found out: a damaged
// index, or b or car unavailable.
func Verify(ctx context.Context, x *Index, b Bytes, car io.ReaderAt, progress func(done int64)) ([]Damage, error) {
	tree, err := x.Tree()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v := &verification{ctx: ctx, index: x, bytes: b, car: car, want: tree, got: commp.NewTree(x.carSize), progress: progress}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			if err := v.work(); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fault.Wrap(err, "verify a piece")
	}
	return v.damage()
}

// verification is one run of Verify.
type verification struct {
	ctx      context.Context
	index    *Index
	bytes    Bytes
	car      io.ReaderAt
	want     *commp.Tree
	got      *commp.Tree
	progress func(int64)

	mu   sync.Mutex
	next int64 // first byte nobody took yet
	done int64
	bad  []Damage
}

func (v *verification) work() error {
	r := NewReader(v.ctx, v.index, v.bytes, nil, nil)
	defer r.Close()
	var spoiled []Damage
	var failed error
	r.spoiled = func(rec Record, err error) {
		if fault.Is(err, fault.Unavailable) && !errors.Is(err, errGone) {
			failed = firstErr(failed, err)
		}
		spoiled = append(spoiled, Damage{Range: commp.Range{Offset: rec.Offset, Length: rec.Section()}, Reason: err.Error()})
	}
	buf := make([]byte, stretch)
	for {
		off, n := v.take()
		if n == 0 {
			return nil
		}
		raw, err := buf[:n], error(nil)
		spoiled = slices.DeleteFunc(spoiled, func(d Damage) bool { return d.Offset+d.Length <= off })
		if v.car != nil {
			err = readCAR(v.car, raw, off, func(d Damage) { spoiled = append(spoiled, d) })
		} else if _, err = r.ReadAt(raw, off); err == nil {
			err = failed
		}
		if err != nil {
			return err
		}
		if err := v.compare(off, raw, spoiled); err != nil {
			return err
		}
	}
}

// readCAR reads a CAR file that may be cut short.
func readCAR(car io.ReaderAt, raw []byte, off int64, spoiled func(Damage)) error {
	n, err := car.ReadAt(raw, off)
	if n == len(raw) {
		return nil
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	clear(raw[n:])
	spoiled(Damage{Range: commp.Range{Offset: off + int64(n), Length: int64(len(raw) - n)}, Reason: "the CAR is cut short"})
	return nil
}

// take gives a stretch away.
func (v *verification) take() (off, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	off = v.next
	n = min(stretch, v.index.carSize-off)
	v.next += n
	return off, n
}

// compare finds the damaged slots of a stretch.
func (v *verification) compare(off int64, raw []byte, spoiled []Damage) error {
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	if err := v.got.SetAt(off, raw); err != nil {
		return fault.Mark(fault.Internal, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for at := int64(0); at < int64(len(raw)); at += commp.SlotRaw {
		slot := commp.Range{Offset: off + at, Length: min(commp.SlotRaw, int64(len(raw))-at)}
		number := int(slot.Offset / commp.SlotRaw)
		got, _ := v.got.Root(number)
		want, _ := v.want.Root(number)
		reason := ""
		if got != want {
			reason = "the bytes are not those that were packed"
		}
		for _, s := range spoiled {
			if s.Offset < slot.Offset+slot.Length && slot.Offset < s.Offset+s.Length {
				reason = s.Reason
				break
			}
		}
		if reason != "" {
			v.bad = append(v.bad, Damage{Range: slot, Reason: reason})
		}
	}
	v.done += int64(len(raw))
	if v.progress != nil {
		v.progress(v.done)
	}
	return nil
}

// damage joins the slots that lie beside each other and have one reason.
func (v *verification) damage() ([]Damage, error) {
	slices.SortFunc(v.bad, func(a, b Damage) int { return cmp.Compare(a.Offset, b.Offset) })
	var out []Damage
	for _, d := range v.bad {
		if last := len(out) - 1; last >= 0 && out[last].Offset+out[last].Length == d.Offset && out[last].Reason == d.Reason {
			out[last].Length += d.Length
			continue
		}
		out = append(out, d)
	}
	for i := range out {
		if err := v.index.name(&out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// name says which blocks a run touches.
func (x *Index) name(d *Damage) error {
	first, err := x.Covering(d.Offset)
	if err != nil {
		return err
	}
	end, err := x.Covering(d.Offset + d.Length - 1)
	if err != nil {
		return err
	}
	first = max(first, 0) // the header has no block
	d.More = max(end+1-first-maxNamed, 0)
	from := FromStore
	for i := first; i <= end && i < first+maxNamed; i++ {
		r, err := x.At(i)
		if err != nil {
			return err
		}
		c, err := r.Cid()
		if err != nil {
			return err
		}
		d.Blocks = append(d.Blocks, c)
		if r.From < FromSource || r.From == from {
			continue
		}
		from = r.From
		s, err := x.Source(from)
		if err != nil {
			return err
		}
		d.Paths = append(d.Paths, s.Path)
	}
	return nil
}
