//go:build !linux

package pack

// largePages leaves b in the pages it has: only Linux is asked for others.
func largePages([]byte) {}
