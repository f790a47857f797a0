//go:build !linux

package app

import (
	"context"
	"runtime/debug"
)

// lean gives back what only the start needed.
func lean(ctx context.Context) error {
	debug.FreeOSMemory()
	<-ctx.Done()
	return nil
}
