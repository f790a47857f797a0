package commp

import (
	"syscall"
	"testing"
)

// guarded returns n bytes that end where the next page may not be touched, and
// others that begin where the page before may not.
func guarded(t *testing.T, n int) (end, begin []byte) {
	page := syscall.Getpagesize()
	inner := (n + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, inner+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(all) })
	for _, edge := range [][]byte{all[:page], all[page+inner:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[page+inner-n : page+inner : page+inner], all[page : page+n : page+n]
}

// No kernel touches a byte before or after what it was given; one that does
// ends the test with a fault.
func TestKernelsKeepToTheirBytes(t *testing.T) {
	eachKernel(t, func(t *testing.T, k kernel) {
		for n := 1; n <= 70; n++ {
			for i, size := range []int{n * 2 * nodeSize, n * quadRaw} {
				end, begin := guarded(t, size)
				outEnd, outBegin := guarded(t, n*(1+i)*nodeSize)
				run := k.nodes
				if i == 1 {
					run = k.quads
				}
				run(outEnd, end)
				run(outBegin, begin)
				if i == 0 {
					run(end, end)
				}
			}
		}
		if k.slot == nil {
			return
		}
		scratchEnd, scratchBegin := guarded(t, slotQuads*2*nodeSize)
		end, begin := guarded(t, SlotRaw)
		k.slot(scratchEnd, end)
		k.slot(scratchBegin, begin)
	})
}
