//go:build !unix

package indexdag

import "os"

// lock is for systems that have it.
func lock(*os.File) bool { return true }

func noSpace(error) bool { return false }
