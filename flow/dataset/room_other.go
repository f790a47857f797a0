//go:build !linux

package dataset

// freeBytes is not known here: a full disk is met when it is full.
func freeBytes(string) (n int64, known bool) { return 0, false }
