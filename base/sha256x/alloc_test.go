//go:build !race

package sha256x

import (
	"slices"
	"testing"
)

// The race detector makes crypto/sha256 allocate where it otherwise does not.
func TestAllocatesNothing(t *testing.T) {
	msgs := slices.Repeat([][]byte{randomBytes(13, 3000)}, 33)
	msgs[5] = msgs[5][:2999]
	msgs[6] = randomBytes(14, 9000)
	out := make([][32]byte, len(msgs))
	eachChoice(t, func(t *testing.T, c *choice) {
		b := newBatch()
		if n := testing.AllocsPerRun(20, func() { b.sum(c, out, msgs) }); n >= 1 {
			t.Errorf("%v allocations a call", n)
		}
	})
}
