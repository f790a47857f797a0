//go:build !linux

package test

import "syscall"

// mortal relies on the cleanups of the tests: only Linux can tie lives together.
func mortal() *syscall.SysProcAttr { return nil }
