package retrieval

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

const (
	ahead = 8 << 20   // bytes asked for at a leaf: the next leaves follow it in the CAR
	skip  = 256 << 10 // bytes rather read over than asked for anew
)

// holdsNext reports whether the source holds the block that is next.
func (a *attempt) holdsNext(ctx context.Context) (bool, error) {
	c, more, err := a.next(ctx)
	if err != nil || !more {
		return more, err
	}
	a.order.stack = append(a.order.stack, c)
	_, _, found, err := a.locate(ctx, c)
	return found, err
}

// next is the next block that has to be fetched. A leaf that was handed on is
// not; an inner node is, for what it links to.
func (a *attempt) next(ctx context.Context) (cid.Cid, bool, error) {
	for {
		c, more, err := a.order.next(ctx)
		if err != nil || !more || a.order.new(c) || c.Type() != cid.Raw {
			return c, more, err
		}
		a.order.seen[c.KeyString()] = a.order.round
	}
}

// locate finds a block in the source's pieces; a.found says in which.
func (a *attempt) locate(ctx context.Context, c cid.Cid) (off, n int64, found bool, err error) {
	held := a.source.pieces
	for i := range held {
		at := (a.found.piece + i) % len(held) // the last one first
		off, n, err = a.pieces.Locate(ctx, held[at].CID, c)
		if err == nil {
			a.found.piece = at
			return off, n, true, nil
		}
		if !fault.Is(err, fault.NotFound) {
			return 0, 0, false, fault.Wrap(err, "block %s in piece %s", c, held[at].CID)
		}
	}
	return 0, 0, false, nil
}

// readPieces reads what is missing out of the CARs of pieces, block by block in
// our order. Their own order is another (children before parents), so this is
// ranges: one for a run of leaves, one for each node above.
func (a *attempt) readPieces(ctx context.Context) error {
	window := &window{a: a}
	defer window.close()
	for {
		c, more, err := a.next(ctx)
		if err != nil {
			return missed(CodeWrong, "%w", err)
		}
		if !more {
			return nil
		}
		b, err := a.readBlock(ctx, window, c)
		if err == nil {
			first := a.order.new(c)
			if err = a.order.follow(ctx, c, b); err == nil {
				if err := a.deliver(b, first); err != nil {
					return err
				}
				continue
			}
			err = missed(CodeWrong, "%w", err)
		}
		a.order.stack = append(a.order.stack, c) // for the next one to go on with
		return err
	}
}

func (a *attempt) readBlock(ctx context.Context, w *window, c cid.Cid) (blocks.Block, error) {
	off, n, found, err := a.locate(ctx, c)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, missed(codeElsewhere, "block %s is in another piece", c)
	}
	if n > dag.MaxBlockSize {
		return nil, fault.New(fault.Internal, "block %s: the index says %d bytes, limit %d", c, n, dag.MaxBlockSize)
	}
	want := n
	if c.Type() == cid.Raw {
		want = max(n, ahead)
	}
	data, err := w.read(ctx, a.source.pieces[a.found.piece], off, n, want)
	if err != nil {
		return nil, err
	}
	got, err := c.Prefix().Sum(data)
	if err != nil || !got.Equals(c) {
		return nil, missed(CodeWrong, "bytes %d to %d of the piece are not block %s", off, off+n, c)
	}
	return blocks.NewBlockWithCid(data, c)
}

// window is a stretch of a piece's CAR on its way in.
type window struct {
	a       *attempt
	piece   int64
	body    *answer
	at, end int64
}

// read returns bytes [off, off+n) of a CAR. Where it has to ask, it asks for
// want bytes.
func (w *window) read(ctx context.Context, p piece.Piece, off, n, want int64) ([]byte, error) {
	if w.body == nil || w.piece != p.ID || off < w.at || off-w.at > skip || off+n > w.end {
		if err := w.open(ctx, p, off, min(off+want, p.CARSize)); err != nil {
			return nil, err
		}
	}
	if _, err := io.CopyN(io.Discard, w.body, off-w.at); err != nil {
		return nil, short(err)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(w.body, data); err != nil {
		return nil, short(err)
	}
	w.at = off + n
	return data, nil
}

func (w *window) open(ctx context.Context, p piece.Piece, off, end int64) error {
	w.close()
	res, err := w.a.get(ctx, "/piece/"+p.CIDv1, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, end-1)}})
	if err != nil {
		return err
	}
	if res.status != http.StatusPartialContent || !strings.HasPrefix(res.Get("Content-Range"), fmt.Sprintf("bytes %d-", off)) {
		res.Close()
		return missed(CodeRefused, "answered %d, range %q, to a question for bytes from %d", res.status, res.Get("Content-Range"), off)
	}
	w.piece, w.body, w.at, w.end = p.ID, res, off, end
	return nil
}

func (w *window) close() {
	if w.body != nil {
		w.body.Close()
		w.body = nil
	}
}

// short says that a range was.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return missed(CodeBroken, "the answer is shorter than the range asked for")
	}
	return err
}
