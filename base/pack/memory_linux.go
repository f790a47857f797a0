package pack

import "syscall"

// largePages asks for b to lie in pages of 2 MiB. It is a hint.
func largePages(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
