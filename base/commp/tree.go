package commp

import (
	"math/bits"
	"sync"
)

// MaxTreeRaw is the most data a Tree takes: a piece of 1 TiB, whose roots fill
// 256 MiB.
const MaxTreeRaw = int64(1) << 40 / quadPadded * quadRaw

// Range is a run of raw bytes.
type Range struct {
	Offset int64
	Length int64
}

// Tree computes the commitment of data whose length is known while its bytes
// come in any order: slot i is the root over raw bytes [i*SlotRaw,
// (i+1)*SlotRaw), the last slot extended with zeros. Everything but the slots'
// roots is forgotten: 32 bytes for each 127 KiB that were set, and 72 KiB for each goroutine
// that is setting slots at the moment.
//
// All methods may be called from any number of goroutines at the same time.
// The zero Tree is good for UnmarshalBinary only.
type Tree struct {
	kernel  kernel
	engines sync.Pool

	mu   sync.RWMutex
	raw  int64
	root nodes
	set  []uint64 // bit i of the whole: slot i has its root
}

// NewTree returns a Tree for rawSize bytes with every slot missing. It panics
// when rawSize is negative or above MaxTreeRaw.
func NewTree(rawSize int64) *Tree { return newTree(rawSize, chosen()) }

func newTree(rawSize int64, k kernel) *Tree {
	if rawSize < 0 || rawSize > MaxTreeRaw {
		panic("commp: tree of a size out of range")
	}
	t := &Tree{kernel: k}
	t.resize(rawSize, 0)
	return t
}

func (t *Tree) engine() *engine {
	if e, ok := t.engines.Get().(*engine); ok {
		return e
	}
	return newEngine(t.kernel)
}

// resize changes the length; slots behind kept are missing afterwards.
func (t *Tree) resize(rawSize int64, kept int) {
	slots := slotsOf(rawSize)
	for i := kept; i < t.root.n; i++ {
		t.set[i/64] &^= 1 << (i % 64)
	}
	set := make([]uint64, (slots+63)/64)
	copy(set, t.set)
	t.raw, t.root, t.set = rawSize, t.root.resized(slots, kept), set
	if rawSize == 0 {
		e := t.engine()
		defer t.engines.Put(e)
		t.root.put(0, e.zero[quadHeight])
		t.set[0] = 1
	}
}

// slotsOf counts the slots; no data at all is one slot of zeros, set by itself.
func slotsOf(rawSize int64) int { return int(max((rawSize+SlotRaw-1)/SlotRaw, 1)) }

// RawSize returns the length of the data in bytes.
func (t *Tree) RawSize() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.raw
}

// SetAt hashes raw, which stands at the raw offset off, into the slots it
// covers; slots set before are replaced, which is how a header written last is
// patched in. off must be a multiple of SlotRaw, and raw must end at a multiple
// of SlotRaw or at the end of the data. The error is ErrInput; then nothing was
// set.
func (t *Tree) SetAt(off int64, raw []byte) error {
	size := t.RawSize()
	switch end := off + int64(len(raw)); {
	case off < 0 || off%SlotRaw != 0:
		return inputError("offset %d is no multiple of %d", off, SlotRaw)
	case off > size || end > size:
		return inputError("bytes %d to %d of data of %d", off, end, size)
	case end%SlotRaw != 0 && end != size:
		return inputError("bytes %d to %d end inside a slot and before %d", off, end, size)
	}
	e := t.engine()
	defer t.engines.Put(e)
	slot := int(off / SlotRaw)
	for len(raw) >= SlotRaw {
		e.held = 0
		for ; len(raw) >= SlotRaw && e.held < batchSlots; raw = raw[SlotRaw:] {
			e.hold(raw[:SlotRaw])
		}
		if err := t.put(slot, size, e.roots()); err != nil {
			return err
		}
		slot += e.held
	}
	if len(raw) == 0 {
		return nil
	}
	root := e.root(raw, min(slotHeight, heightOf(uint64(size))))
	return t.put(slot, size, root[:])
}

// put stores the roots of slots from one on, made for data of a size, unless
// Resize came between.
func (t *Tree) put(slot int, size int64, roots []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raw != size {
		return inputError("data of %d bytes was resized to %d while slot %d was hashed", size, t.raw, slot)
	}
	for ; len(roots) > 0; slot, roots = slot+1, roots[nodeSize:] {
		t.root.put(slot, Node(roots))
		t.set[slot/64] |= 1 << (slot % 64)
	}
	return nil
}

// SetRoot sets the root of a slot that was hashed elsewhere or before, as Root
// gave it. It is believed. The error is ErrInput for a slot the data have not.
func (t *Tree) SetRoot(slot int, root Node) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot < 0 || slot >= t.root.n {
		return inputError("slot %d of %d", slot, t.root.n)
	}
	if root[31]&0xc0 != 0 {
		return inputError("root of slot %d exceeds 254 bits", slot)
	}
	t.root.put(slot, root)
	t.set[slot/64] |= 1 << (slot % 64)
	return nil
}

// Resize changes the length of the data, for a stream that turned out longer
// or shorter than announced. Slots that cover the same bytes as before keep
// their roots; the slot the old or the new end lies in is missing afterwards
// unless that end is a slot border. The error is ErrInput for a size NewTree
// refuses.
func (t *Tree) Resize(rawSize int64) error {
	if rawSize < 0 || rawSize > MaxTreeRaw {
		return inputError("tree of %d bytes, want 0 to %d", rawSize, MaxTreeRaw)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if rawSize == t.raw {
		return nil
	}
	t.resize(rawSize, int(min(rawSize, t.raw)/SlotRaw))
	return nil
}

// Slots returns the number of slots; data of no bytes has one.
func (t *Tree) Slots() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.root.n
}

// Root returns the root of a slot and whether it was set. Of data that fits
// one slot it is the root of the piece.
func (t *Tree) Root(slot int) (Node, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if slot < 0 || slot >= t.root.n || !t.has(slot) {
		return Node{}, false
	}
	return t.root.at(slot), true
}

func (t *Tree) has(slot int) bool { return t.set[slot/64]>>(slot%64)&1 == 1 }

// Missing returns the raw bytes that no SetAt covered yet, in order, joined
// where they touch: what is left to read after a restart.
func (t *Tree) Missing() []Range {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.ranges(func(i int) bool { return !t.has(i) })
}

// Changed returns the raw bytes of the slots whose roots differ between t and
// other, which must be over data of the same length: the 127 KiB that went bad.
// Slots missing in either do not count. The error is ErrInput.
func (t *Tree) Changed(other *Tree) ([]Range, error) {
	copied := other.clone()
	t.mu.RLock()
	defer t.mu.RUnlock()
	if copied.raw != t.raw {
		return nil, inputError("trees over %d and %d bytes", t.raw, copied.raw)
	}
	return t.ranges(func(i int) bool { return t.has(i) && copied.has(i) && t.root.at(i) != copied.root.at(i) }), nil
}

func (t *Tree) clone() *Tree {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &Tree{raw: t.raw, root: t.root.resized(t.root.n, t.root.n), set: append([]uint64(nil), t.set...)}
}

// ranges joins the slots that pick chooses.
func (t *Tree) ranges(pick func(slot int) bool) []Range {
	var out []Range
	for i := range t.root.n {
		if !pick(i) {
			continue
		}
		off := int64(i) * SlotRaw
		n := min(SlotRaw, t.raw-off)
		if last := len(out) - 1; last >= 0 && out[last].Offset+out[last].Length == off {
			out[last].Length += n
			continue
		}
		out = append(out, Range{off, n})
	}
	return out
}

// Piece folds the slots. The error is ErrMissing while one is not set.
func (t *Tree) Piece() (Piece, error) { return t.PiecePadded(PaddedSize(uint64(t.RawSize()))) }

// PiecePadded is Piece for a larger piece size, as Writer.SumPadded.
func (t *Tree) PiecePadded(padded uint64) (Piece, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	height, err := heightOfPadded(padded, uint64(t.raw))
	if err != nil {
		return Piece{}, err
	}
	if err := t.complete(); err != nil {
		return Piece{}, err
	}
	e := t.engine()
	defer t.engines.Put(e)
	own := min(slotHeight, heightOf(uint64(t.raw)))
	if own < slotHeight {
		root := t.root.at(0)
		for h := own; h < height; h++ {
			root = e.join(root, e.zero[h])
		}
		return pieceOf(root, uint64(t.raw), height), nil
	}
	var p peaks
	for i := range t.root.n {
		p.push(e, t.root.at(i), slotHeight)
	}
	return pieceOf(p.root(e, height), uint64(t.raw), height), nil
}

// complete returns ErrMissing, wrapped with how much, unless every slot is set.
func (t *Tree) complete() error {
	set := 0
	for _, w := range t.set {
		set += bits.OnesCount64(w)
	}
	if set != t.root.n {
		return missingError(t.root.n-set, t.root.n)
	}
	return nil
}
