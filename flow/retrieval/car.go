package retrieval

import (
	"context"
	"errors"
	"io"
	"net/http"

	blocks "github.com/ipfs/go-block-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
)

// carQuery asks a trustless gateway for a whole DAG in our order (IPIP-402,
// IPIP-412). Gateways that ignore the last two send blocks again, which is
// understood.
const carQuery = "?format=car&dag-scope=all&car-version=1&car-order=dfs&car-dups=n"

// readCAR reads the DAG from its root as one stream.
func (a *attempt) readCAR(ctx context.Context) error {
	res, err := a.get(ctx, "/ipfs/"+a.req.Root.String()+carQuery, http.Header{
		"Accept": {"application/vnd.ipld.car; version=1; order=dfs; dups=n"},
	})
	if err != nil {
		return err
	}
	defer res.Close()
	if res.status != http.StatusOK {
		return missed(CodeRefused, "answered %d to a question for the whole", res.status)
	}
	car, err := dag.NewCARReader(res, dag.CAROptions{})
	if err != nil {
		return ofCAR(err)
	}
	for {
		b, _, err := car.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return ofCAR(err)
		}
		if b.Cid().Prefix().MhType == mh.IDENTITY {
			continue // carries its bytes in its name
		}
		c, first, err := a.order.take(ctx, b)
		if err != nil {
			return missed(CodeWrong, "%w", err)
		}
		if !c.Equals(b.Cid()) { // the other version of the same CID
			if b, err = blocks.NewBlockWithCid(b.RawData(), c); err != nil {
				return err
			}
		}
		if err := a.deliver(b, first); err != nil {
			return err
		}
	}
	c, more, err := a.order.next(ctx)
	if err != nil {
		return missed(CodeWrong, "%w", err)
	}
	if more {
		a.order.stack = append(a.order.stack, c)
		return missed(CodeBroken, "the CAR ends before block %s", c)
	}
	return nil
}

// ofCAR says what an error of a CAR tells of its sender.
func ofCAR(err error) error {
	var known *miss
	var car *dag.CARError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &car) && (car.Fault == dag.CARTruncated || car.Fault == dag.CAREmpty):
		return missed(CodeBroken, "%w", err)
	case errors.As(err, &car):
		return missed(CodeWrong, "%w", err)
	}
	return err
}
