package api_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/client"
)

// equal compares two things by what they print.
func (h *house) equal(have, want any) {
	h.Helper()
	if fmt.Sprintf("%+v", have) != fmt.Sprintf("%+v", want) {
		h.Errorf("have %+v\nwant %+v", have, want)
	}
}

// refused checks that an error is a problem of the status and kind, with the
// words and the id that people need.
func (h *house) refused(err error, status int, kind string) {
	h.Helper()
	var e *client.Error
	if !errors.As(err, &e) || e.Status != status || e.Kind != kind || e.Title == "" || e.RequestID == "" || (e.Detail == "" && len(e.Errors) == 0) {
		h.Errorf("have %#v\nwant status %d, %s", err, status, kind)
	}
}

func errOf[T any](_ T, err error) error { return err }

// drain reads a list to its end.
func drain[T any](seq iter.Seq2[T, error]) func(t *testing.T) []T {
	return func(t *testing.T) []T {
		t.Helper()
		var all []T
		for v, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		return all
	}
}

// memory is a block store in a map.
type memory map[cid.Cid]blocks.Block

func (m memory) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := m[c]; ok {
		return b, nil
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

// parked makes a job that waits for a long time.
func (h *house) parked() (id int64) {
	h.Helper()
	kind := job.Kind[struct{}]{Name: "test.parked"}
	h.must(h.db.Tx(h.Context(), func(ctx context.Context, tx *db.Tx) error {
		return kind.Enqueue(ctx, tx, h.s.Jobs, struct{}{}, job.At(time.Now().Add(time.Hour)))
	}))
	all := got(h.s.Jobs.List(h.Context(), job.Filter{Kind: "test.parked"}))(h.T)
	return all[0].ID
}
