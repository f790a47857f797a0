package app

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// Where more than the limit is alive, the limit gives way, and comes back.
func TestMakeRoom(t *testing.T) {
	t.Cleanup(func() { debug.SetMemoryLimit(math.MaxInt64) })
	debug.SetMemoryLimit(packerHeap)
	held := make([]byte, 2*packerHeap)
	runtime.GC()
	makeRoom()
	if limit := debug.SetMemoryLimit(-1); limit < 2*int64(len(held)) {
		t.Errorf("%d bytes are alive, the limit is %d", len(held), limit)
	}
	runtime.KeepAlive(held)
	held = nil
	runtime.GC()
	makeRoom()
	if limit := debug.SetMemoryLimit(-1); limit > 2*packerHeap {
		t.Errorf("little is alive, the limit is still %d", limit)
	}
}
