//go:build !linux

package app

// pages are a range of addresses.
type pages struct{}

func cleanPages() []pages { return nil }

func giveBack([]pages) {}
