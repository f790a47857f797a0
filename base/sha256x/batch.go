package sha256x

import (
	"crypto/sha256"
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// maxBlocks bounds one call of a kernel to 16 KiB a lane, which is far below a
// millisecond: assembly cannot be interrupted, and a garbage collection that
// begins waits for it.
const maxBlocks = 256

// batch is one call of Sum.
type batch struct {
	state states
	at    addresses
	lanes [maxLanes]*run // nil: idle
	busy  int            // of lanes
	begun []*run         // that are in no lane at the moment
	free  []*run
	runs  [maxLanes]run
	alone alone

	out   [][32]byte
	msgs  [][]byte
	order []int32 // of msgs: indexes of those not begun
	whole []int32 // what order was cut from, kept for the next call
}

var batches = sync.Pool{New: func() any { return newBatch() }}

func newBatch() *batch {
	b := &batch{begun: make([]*run, 0, maxLanes), free: make([]*run, 0, maxLanes), alone: newAlone()}
	for i := range b.runs {
		b.free = append(b.free, &b.runs[i])
	}
	return b
}

func (c *choice) sum(out [][32]byte, msgs [][]byte) {
	if len(msgs) < 2 || c[min(len(msgs), maxLanes)].blocks == nil {
		sumEach(out, msgs)
		return
	}
	b := batches.Get().(*batch)
	b.sum(c, out, msgs)
	batches.Put(b)
}

// sum hashes messages in as many turns as the choice of kernels changes.
func (b *batch) sum(c *choice, out [][32]byte, msgs [][]byte) {
	b.take(out, msgs)
	for left := b.left(); left > 0; left = b.left() {
		if k := c[min(left, maxLanes)]; k.blocks == nil {
			b.each()
		} else {
			b.run(c, k)
		}
	}
	b.out, b.msgs = nil, nil
}

// take puts messages in order: the longest first, for short ones fill the lanes
// at the end better. Lengths that need as many bits count as equal.
func (b *batch) take(out [][32]byte, msgs [][]byte) {
	var first [bits.UintSize]int // of the lengths of so many bits; above all that are longer
	for _, m := range msgs {
		first[bits.Len(uint(len(m)))]++
	}
	at := 0
	for i := len(first) - 1; i >= 0; i-- {
		first[i], at = at, at+first[i]
	}
	b.out, b.msgs = out, msgs
	b.whole = slices.Grow(b.whole[:0], len(msgs))[:len(msgs)]
	for i, m := range msgs {
		class := &first[bits.Len(uint(len(m)))]
		b.whole[*class] = int32(i)
		*class++
	}
	b.order = b.whole
}

func sumEach(out [][32]byte, msgs [][]byte) {
	for i, m := range msgs {
		out[i] = sha256.Sum256(m)
	}
}

// left counts the messages without a digest.
func (b *batch) left() int { return b.busy + len(b.begun) + len(b.order) }

// each finishes all messages one after the other.
func (b *batch) each() {
	for _, r := range b.begun {
		b.alone.finish(r)
	}
	b.free = append(b.free, b.begun...)
	b.begun = b.begun[:0]
	for _, i := range b.order {
		b.out[i] = sha256.Sum256(b.msgs[i])
	}
	b.order = nil
}

// run hashes with k until another kernel suits those that are left better.
func (b *batch) run(c *choice, k *kernel) {
	for left := b.left(); left > 0 && c[min(left, maxLanes)] == k; left = b.left() {
		b.fill(k)
		b.step(k)
	}
	clear(b.at[:])
	for l, r := range b.lanes {
		if r != nil {
			b.vacate(k, l)
			b.begun = append(b.begun, r)
		}
	}
}

// fill gives every idle lane of k a message, the begun ones first.
func (b *batch) fill(k *kernel) {
	for l := 0; b.busy < k.lanes && len(b.begun)+len(b.order) > 0; l++ {
		if b.lanes[l] != nil {
			continue
		}
		var r *run
		if last := len(b.begun) - 1; last >= 0 {
			r, b.begun = b.begun[last], b.begun[:last]
		} else {
			last := len(b.free) - 1
			r, b.free = b.free[last], b.free[:last]
			r.begin(&b.out[b.order[0]], b.msgs[b.order[0]])
			b.order = b.order[1:]
		}
		for i, w := range r.state {
			b.state[i*k.word+l*k.lane] = w
		}
		b.lanes[l] = r
		b.busy++
	}
}

// vacate empties a lane.
func (b *batch) vacate(k *kernel, l int) {
	for i := range b.lanes[l].state {
		b.lanes[l].state[i] = b.state[i*k.word+l*k.lane]
	}
	b.lanes[l] = nil
	b.busy--
}

// step hashes as many blocks as every busy lane has, and ends the messages that
// are done.
func (b *batch) step(k *kernel) {
	n, some := maxBlocks, unsafe.Pointer(nil) // some lane's: n blocks of it are there for idle lanes
	for l, r := range b.lanes[:k.lanes] {
		if r == nil {
			continue
		}
		next := r.next()
		n, some = min(n, len(next)/blockSize), unsafe.Pointer(unsafe.SliceData(next))
		b.at[l] = some
	}
	for l, r := range b.lanes[:k.lanes] {
		if r == nil {
			b.at[l] = some
		}
	}
	k.blocks(&b.state, &b.at, n)
	for l, r := range b.lanes[:k.lanes] {
		if r != nil && r.advance(n) {
			b.vacate(k, l)
			r.end()
			b.free = append(b.free, r)
		}
	}
}
