package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/firth-project/firth/base/source"
)

// A walk that is given up in the middle of a directory leaves it to whoever is
// reading it.
func TestLocalWalkGivenUp(t *testing.T) {
	root := t.TempDir()
	for i := range 5000 { // more than one call tells
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("%04d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, root, nil)
	var walks sync.WaitGroup
	for i := range 200 {
		ctx, stop := context.WithCancel(t.Context())
		walks.Go(func() {
			_ = s.Walk(ctx, "", source.Filter{}, func(source.Item) error { return nil })
		})
		walks.Go(func() {
			for range i * 100 {
				_ = ctx.Err()
			}
			stop()
		})
		if i%4 == 3 {
			walks.Wait()
		}
	}
	walks.Wait()
}
