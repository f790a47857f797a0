package commp

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// One root can be taken from an encoded tree without the others.
func TestRootOffset(t *testing.T) {
	for _, size := range []int64{0, 1, SlotRaw, SlotRaw + 1, 8 * SlotRaw, 20*SlotRaw + 77} {
		tree := NewTree(size)
		raw := bytes.Repeat([]byte{7}, int(size))
		if err := tree.SetAt(0, raw); err != nil {
			t.Fatal(err)
		}
		b, err := tree.MarshalBinary()
		if got := tree.EncodedSize(); got != int64(len(b)) {
			t.Errorf("%d bytes announced, %d are written", got, len(b))
		}
		if err != nil {
			t.Fatal(err)
		}
		for slot := range tree.Slots() {
			want, _ := tree.Root(slot)
			if at := RootOffset(size, slot); Node(b[at:]) != want {
				t.Errorf("%d bytes, slot %d: another root at %d", size, slot, at)
			}
		}
		if end := RootOffset(size, tree.Slots()) + 4; end != int64(len(b)) {
			t.Errorf("%d bytes: the end is at %d of %d", size, end, len(b))
		}
	}
}

// A tree of more than one buffer is written whole, and says when it was not.
func TestWriteTo(t *testing.T) {
	const slots = 9001
	tree := NewTree(slots * SlotRaw)
	for i := range slots {
		if i%3 > 0 {
			if err := tree.SetRoot(i, Node{byte(i), byte(i >> 8), 31: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := tree.MarshalBinary()
	if err != nil || tree.EncodedSize() != int64(len(b)) {
		t.Fatalf("%d bytes, want %d: %v", len(b), tree.EncodedSize(), err)
	}
	back, err := LoadTree(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range slots {
		want, had := tree.Root(i)
		if got, has := back.Root(i); got != want || has != had {
			t.Fatalf("slot %d: %x, %v, want %x, %v", i, got, has, want, had)
		}
	}
	for _, room := range []int{0, 7, 70_000, len(b) - 4, len(b) - 1} {
		if n, err := tree.WriteTo(&narrow{room}); !errors.Is(err, io.ErrShortWrite) || n != int64(room) {
			t.Errorf("into %d bytes: %d, %v", room, n, err)
		}
	}
}

// narrow takes so many bytes.
type narrow struct{ room int }

func (n *narrow) Write(b []byte) (int, error) {
	took := min(len(b), n.room)
	n.room -= took
	if took < len(b) {
		return took, io.ErrShortWrite
	}
	return took, nil
}
