package retrieval

import (
	"context"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/fault"
)

func (s *Service) fetch(ctx context.Context, req Request, visit func(blocks.Block) error) (Retrieval, error) {
	return Retrieval{}, fault.New(fault.Unavailable, "root %s: no provider holds it", req.Root)
}
