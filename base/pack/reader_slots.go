package pack

import "github.com/firth-project/firth/base/commp"

// maxSlots is how many slots are read instead of the blocks around them, at
// most: 2 MiB. Beyond that, hashing blocks side by side costs less.
const maxSlots = 16

// cutOut makes a window of the slots around the want bytes at off, record i's
// among them, where these are fewer bytes than the blocks around them: of a leaf
// of 1 MiB, whoever wants 4 KiB pays for 127. The slots are held to the roots
// that the commitment is folded from. It reports false where blocks have to be
// read: they say which one is wrong, or that it is the slots' roots.
func (r *Reader) cutOut(i, off, want int64) bool {
	if r.spoiled != nil {
		return false
	}
	size := r.index.carSize
	want = min(want, size-off)
	first := off / commp.SlotRaw
	end := (off + want + commp.SlotRaw - 1) / commp.SlotRaw
	begin, length := first*commp.SlotRaw, min(end*commp.SlotRaw, size)-first*commp.SlotRaw
	if end-first > maxSlots || length >= r.around(max(i, 0), off+want) {
		return false
	}
	buf := r.memory(int(length))[:length]
	if r.lay(begin, buf) != nil || !r.rooted(int(first), buf) {
		r.held = window{} // what was there is overwritten
		return false
	}
	r.held = window{offset: begin, bytes: buf, cut: true}
	return true
}

// around is the length of the sections from record i to the one that ends
// behind end, or at it. It is 0 where neither of them is of a source: the block
// store gives whole blocks, and nodes are small.
func (r *Reader) around(i, end int64) int64 {
	number, err := r.index.Covering(end - 1)
	if err != nil {
		return 0
	}
	first, failed := r.index.At(i)
	last, err := r.index.At(max(number, i))
	if failed != nil || err != nil || first.From < FromSource && last.From < FromSource {
		return 0
	}
	return last.Offset + last.Section() - first.Offset
}

// lay fills buf with the CAR from off on, unverified.
func (r *Reader) lay(off int64, buf []byte) error {
	i, err := r.index.Covering(off)
	if err != nil {
		return err
	}
	filled := 0
	if i < 0 {
		filled = copy(buf, r.index.header[off:])
		i = 0
	}
	b := &r.filling
	for filled < len(buf) {
		b.records = append(b.records[:0], make([]Record, 64)...)
		n, err := r.index.some(b.records, i)
		if err != nil {
			return err
		}
		for _, rec := range b.records[:n] {
			if filled == len(buf) {
				break
			}
			skip := off + int64(filled) - rec.Offset
			if skip < 0 || skip >= rec.Section() {
				return damagedIndex("has sections that do not meet")
			}
			n, err := r.part(rec, int(skip), buf[filled:])
			if err != nil {
				return err
			}
			filled += n
		}
		i += int64(n)
	}
	return nil
}

// part fills into with a section from its byte skip on, as far as it goes.
func (r *Reader) part(rec Record, skip int, into []byte) (n int, err error) {
	head := rec.AppendHead(nil)
	if skip < len(head) {
		n = copy(into, head[skip:])
		into, skip = into[n:], len(head)
	}
	skip -= len(head)
	into = into[:min(len(into), rec.Size-skip)]
	if len(into) == 0 {
		return n, nil
	}
	if rec.From < FromSource { // a block that is checked as a whole
		block := make([]byte, rec.Size)
		err = r.load(rec, block)
		copy(into, block[skip:])
		return n + len(into), err
	}
	rec.Position, rec.Size = rec.Position+int64(skip), len(into)
	return n + len(into), r.load(rec, into)
}

// rooted reports whether the slots from number first on have the roots that
// the index says.
func (r *Reader) rooted(first int, raw []byte) bool {
	want, err := r.index.roots(first, int((int64(len(raw))+commp.SlotRaw-1)/commp.SlotRaw))
	if err != nil {
		return false
	}
	// Another slot before them makes even a single one a slot among others: alone
	// it would be a whole piece, and of less than a slot the root stands lower.
	got := commp.NewTree(commp.SlotRaw + int64(len(raw)))
	if got.SetAt(commp.SlotRaw, raw) != nil {
		return false
	}
	for k := range want {
		if root, ok := got.Root(1 + k); !ok || root != want[k] {
			return false
		}
	}
	return true
}

// roots reads the roots of n slots without those of the others.
func (x *Index) roots(first, n int) ([]commp.Node, error) {
	slots := int((x.carSize + commp.SlotRaw - 1) / commp.SlotRaw)
	if slots < 2 || first+n > slots || x.treeBytes != commp.RootOffset(x.carSize, slots)+4 {
		return nil, damagedIndex("has the tree of another CAR")
	}
	out := make([]commp.Node, n)
	b := make([]byte, n*len(out[0]))
	if err := x.pages.read(b, x.treeAt()+commp.RootOffset(x.carSize, first)); err != nil {
		return nil, err
	}
	for k := range out {
		out[k] = commp.Node(b[k*len(out[k]):])
	}
	return out, nil
}
