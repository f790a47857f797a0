package node_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/flow/node"
)

func TestNodesComeAndGo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		var now atomic.Pointer[time.Time]
		set := func(at time.Time) { now.Store(&at) }
		set(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
		s := node.New(open(t, node.Migrations()), func() time.Time { return *now.Load() }, slog.New(slog.DiscardHandler))

		ctx, stop := context.WithCancel(context.Background())
		gone := make(chan error, 1)
		go func() {
			gone <- s.Attend(ctx, node.Node{ID: "a", Roles: []string{"api", "packer"}, Version: "devel", Address: "http://127.0.0.1:1"})
		}()
		list := func() []node.Node {
			nodes, err := s.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return nodes
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for len(list()) == 0 {
			<-tick.C
		}
		if n := list()[0]; n.ID != "a" || len(n.Roles) != 2 || !n.SeenAt.Equal(*now.Load()) || n.Address == "" {
			t.Errorf("listed %+v", n)
		}
		set(now.Load().Add(node.Lifetime + time.Second))
		if nodes := list(); len(nodes) != 0 {
			t.Errorf("a node that gives no sign of life is still listed: %+v", nodes)
		}
		set(now.Load().Add(-time.Minute))
		stop()
		if err := <-gone; err != nil {
			t.Fatal(err)
		}
		if nodes := list(); len(nodes) != 0 {
			t.Errorf("a node that left is still listed: %+v", nodes)
		}
	})
}
