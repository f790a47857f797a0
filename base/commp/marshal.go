package commp

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
)

// The encoding of a Tree, integers big-endian:
//
//	8 bytes  magic and version
//	8 bytes  raw size
//	⌈slots/8⌉ bytes  bit i%8 of byte i/8: slot i is set
//	32 bytes for each slot that is set, in order
//	4 bytes  CRC-32C of everything before
const (
	treeMagic    = "fcommp\x00\x01"
	treeOverhead = len(treeMagic) + 8 + 4
)

// WriteTo encodes the Tree, whole or in part, to be taken up again after a
// restart: 32 bytes for each slot that is set. Slots are set before or after it,
// not meanwhile. It needs 64 KiB of memory and fails only where w does.
func (t *Tree) WriteTo(w io.Writer) (int64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	const full = 64 << 10
	b, sum, written := make([]byte, 0, full+nodeSize), uint32(0), int64(0)
	write := func(atLeast int) error {
		if len(b) < atLeast {
			return nil
		}
		sum = crc32.Update(sum, castagnoli, b)
		n, err := w.Write(b)
		written, b = written+int64(n), b[:0]
		return err
	}
	b = binary.BigEndian.AppendUint64(append(b, treeMagic...), uint64(t.raw))
	for i := range (t.root.n + 7) / 8 {
		b = append(b, byte(t.set[i/8]>>(i%8*8)))
		if err := write(full); err != nil {
			return written, err
		}
	}
	for i := range t.root.n {
		if !t.has(i) {
			continue
		}
		n := t.root.at(i)
		b = append(b, n[:]...)
		if err := write(full); err != nil {
			return written, err
		}
	}
	if err := write(1); err != nil {
		return written, err
	}
	n, err := w.Write(binary.BigEndian.AppendUint32(b, sum))
	return written + int64(n), err
}

// EncodedSize is how many bytes WriteTo writes.
func (t *Tree) EncodedSize() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := treeOverhead + (t.root.n+7)/8
	for _, word := range t.set {
		n += bits.OnesCount64(word) * nodeSize
	}
	return int64(n)
}

// MarshalBinary is WriteTo into memory. It never fails.
func (t *Tree) MarshalBinary() ([]byte, error) {
	var out bytes.Buffer
	out.Grow(int(t.EncodedSize()))
	_, err := t.WriteTo(&out)
	return out.Bytes(), err
}

// UnmarshalBinary replaces the Tree by an encoded one. The error is ErrInput
// for bytes that are torn, damaged or of another kind; then the Tree is as it
// was. Memory is at most 256 times the length of data.
func (t *Tree) UnmarshalBinary(data []byte) error {
	fresh, err := decodeTree(data)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.raw, t.root, t.set = fresh.raw, fresh.root, fresh.set
	if t.kernel.nodes == nil { // the zero Tree, as decoders make it
		t.kernel = chosen()
	}
	return nil
}

// LoadTree is UnmarshalBinary into a new Tree.
func LoadTree(data []byte) (*Tree, error) {
	t := new(Tree)
	if err := t.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	return t, nil
}

func decodeTree(data []byte) (*Tree, error) {
	if len(data) < treeOverhead || string(data[:len(treeMagic)]) != treeMagic {
		return nil, inputError("encoded tree: %d bytes of another format", len(data))
	}
	body, sum := data[:len(data)-4], data[len(data)-4:]
	if binary.BigEndian.Uint32(sum) != checksum(body) {
		return nil, inputError("encoded tree: checksum differs")
	}
	size := binary.BigEndian.Uint64(body[len(treeMagic):])
	body = body[len(treeMagic)+8:]
	if size > uint64(MaxTreeRaw) {
		return nil, inputError("encoded tree: data of %d bytes, at most %d", size, MaxTreeRaw)
	}
	slots := slotsOf(int64(size))
	mask := (slots + 7) / 8
	if len(body) < mask {
		return nil, inputError("encoded tree: %d bytes for %d slots", len(body), slots)
	}
	present := 0
	for _, b := range body[:mask] {
		present += bits.OnesCount8(b)
	}
	if slots%8 != 0 && body[mask-1]>>(slots%8) != 0 || len(body) != mask+present*nodeSize {
		return nil, inputError("encoded tree: %d bytes for %d of %d slots", len(body), present, slots)
	}
	return readSlots(int64(size), slots, body[:mask], body[mask:])
}

func readSlots(size int64, slots int, mask, roots []byte) (*Tree, error) {
	t := &Tree{raw: size, root: newNodes(slots), set: make([]uint64, (slots+63)/64)}
	for i := range slots {
		if mask[i/8]>>(i%8)&1 == 0 {
			continue
		}
		n := Node(roots)
		if n[31]&0xc0 != 0 {
			return nil, inputError("encoded tree: root of slot %d exceeds 254 bits", i)
		}
		t.root.put(i, n)
		t.set[i/64] |= 1 << (i % 64)
		roots = roots[nodeSize:]
	}
	return t, nil
}

// RootOffset returns where in the encoding of a Tree over rawSize bytes, all
// slots set, the root of a slot begins: one root can be read without the others.
// The checksum ends 4 bytes behind the root of a slot after the last.
func RootOffset(rawSize int64, slot int) int64 {
	return int64(len(treeMagic) + 8 + (slotsOf(rawSize)+7)/8 + slot*nodeSize)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
