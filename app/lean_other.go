//go:build !linux

package app

import (
	"context"
	"runtime/debug"
)

// lean gives back what only the start needed.
func lean() (stay func(context.Context) error) {
	debug.FreeOSMemory()
	return func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}
}
