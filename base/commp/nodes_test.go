package commp

import (
	"math/rand/v2"
	"testing"
)

// A list of nodes is what a plain slice is, and takes memory for what was set.
func TestNodes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		plain := make([]Node, 1+r.IntN(5*chunkNodes))
		l := newNodes(len(plain))
		for range 4 {
			for range r.IntN(20) {
				i, n := r.IntN(len(plain)), Node{byte(r.Uint32()), 1}
				plain[i] = n
				l.put(i, n)
			}
			size, kept := 1+r.IntN(5*chunkNodes), r.IntN(len(plain)+1)
			before := l
			l = l.resized(size, kept)
			again := make([]Node, size)
			copy(again, plain[:kept])
			plain = again
			if before.n > 0 && size > 0 {
				before.put(0, Node{9}) // a copy does not notice
			}
			from := r.IntN(size)
			for i, n := range l.list(from, size) {
				if n != plain[from+i] || n != l.at(from+i) {
					t.Fatalf("node %d of %d, %d kept: %x, want %x", from+i, size, kept, n, plain[from+i])
				}
			}
		}
	}
	l := newNodes(1 << 19) // of 64 GiB
	l.put(5, Node{1})
	l.put(1<<19-1, Node{2})
	held := 0
	for _, c := range l.chunk {
		held += len(c)
	}
	if held != 2*chunkNodes {
		t.Errorf("%d nodes are held for 2", held)
	}
}
