//go:build !linux

package pack

import (
	"errors"
	"os"
	"syscall"
)

func openDirect(string) *os.File { return nil }

func refusesDirect(error) bool { return false }

func pageAligned([]byte) bool { return false }

func reserve(*os.File, int64, int64) {}

func diskFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
