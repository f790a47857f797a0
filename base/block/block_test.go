package block_test

import (
	"testing"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/blob/disk"
	"github.com/firth-project/firth/base/block"
	"github.com/firth-project/firth/base/block/blocktest"
)

func open(t *testing.T, dir string, o block.Options) *block.Store {
	t.Helper()
	s, err := block.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLocal(t *testing.T) {
	for name, o := range map[string]block.Options{"one segment": {}, "small segments": {SegmentBytes: 10_000}, "temporary": {Temporary: true}} {
		t.Run(name, func(t *testing.T) {
			blocktest.Run(t, func(t *testing.T) func() *block.Store {
				dir := t.TempDir()
				return func() *block.Store { return open(t, dir, o) }
			})
		})
	}
}

// sharedOver opens stores over one blob store, each with its own directory.
func sharedOver(t *testing.T, blobs blob.Store, o block.Options) *block.Store {
	t.Helper()
	o.Shared = blobs
	return open(t, t.TempDir(), o)
}

func blobsIn(t *testing.T, dir string) blob.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShared(t *testing.T) {
	for name, o := range map[string]block.Options{"large segments": {}, "small segments": {SegmentBytes: 10_000}} {
		t.Run(name, func(t *testing.T) {
			blocktest.Run(t, func(t *testing.T) func() *block.Store {
				blobs := blobsIn(t, t.TempDir())
				return func() *block.Store { return sharedOver(t, blobs, o) }
			})
		})
	}
}
