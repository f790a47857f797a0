//go:build unix

package pack

import "syscall"

// newMemory returns n bytes that begin at a page, outside the heap: buffers
// that live as long as a run would only make the collector wait for twice as
// much garbage.
func newMemory(n int) ([]byte, error) {
	return syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func freeMemory(b []byte) error { return syscall.Munmap(b) }
