package sha256x

import (
	"os"
	"syscall"
	"testing"
)

// guarded returns memory whose neighbours on both sides cannot be read.
func guarded(t *testing.T, pages int) []byte {
	t.Helper()
	page := os.Getpagesize()
	all, err := syscall.Mmap(-1, 0, (pages+2)*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	for _, edge := range [][]byte{all[:page], all[(pages+1)*page:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[page : (pages+1)*page]
}

// TestReadsNothingOutside: a kernel that did would end the test with a fault.
func TestReadsNothingOutside(t *testing.T) {
	text := guarded(t, 2)
	chance(30).Read(text)
	eachChoice(t, func(t *testing.T, c *choice) {
		for n := range 200 {
			first, last := text[:n], text[len(text)-n:]
			check(t, c, [][]byte{last, first, text, last, text[:64], last})
		}
		for n := range len(text) / 64 {
			check(t, c, [][]byte{text[len(text)-n*64:], text[:n*64], text, text[len(text)-n*64:]})
		}
	})
}
