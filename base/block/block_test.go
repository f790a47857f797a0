package block_test

import (
	"testing"

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
	for name, o := range map[string]block.Options{"one segment": {}, "small segments": {SegmentBytes: 10_000}} {
		t.Run(name, func(t *testing.T) {
			blocktest.Run(t, func(t *testing.T) func() *block.Store {
				dir := t.TempDir()
				return func() *block.Store { return open(t, dir, o) }
			})
		})
	}
}
