package commp

import (
	"bytes"
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
