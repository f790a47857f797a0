package devnet

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v9/market"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-car/v2"
	"github.com/multiformats/go-multihash"
	"golang.org/x/time/rate"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

const (
	maxTransfer  = 24 * time.Hour // of one deal
	pullAttempts = 5
	slowness     = 10        // times the epochs, on a slow provider
	slowBytes    = 256 << 10 // bytes a second, on a slow provider
	slowBurst    = 64 << 10
)

// transfer gets and verifies the data of an online deal. It is the one part of
// a deal that takes real time.
func (p *provider) transfer(ctx context.Context, a *agreement) {
	select {
	case p.pulling <- struct{}{}:
		defer func() { <-p.pulling }()
	case <-ctx.Done():
	}
	if p.hold(ctx, Vanish) != nil || p.expired(a) {
		return
	}
	path := p.stagingPath(a)
	piece, err := p.obtain(ctx, a, path)
	if err != nil {
		p.remove(path)
		if ctx.Err() == nil {
			p.fail(a, err)
		}
		return
	}
	p.mu.Lock()
	a.piece = piece
	p.mu.Unlock()
	p.verified(a)
}

func (p *provider) obtain(ctx context.Context, a *agreement, path string) (*heldPiece, error) {
	if err := p.download(ctx, a, path); err != nil {
		return nil, fmt.Errorf("data-transfer failed: %w", err)
	}
	piece, err := p.verify(path, a.params.ClientDealProposal.Proposal)
	if err != nil {
		return nil, fmt.Errorf("failed to verify CommP: %w", err)
	}
	return piece, nil
}

// mismatch has Boost's words, which clients look for.
func mismatch(expected, actual cid.Cid) error {
	return fmt.Errorf("commP expected=%s, actual=%s: commp mismatch", expected, actual)
}

// download pulls the data into a new file.
func (p *provider) download(ctx context.Context, a *agreement, path string) error {
	proposal := a.params.ClientDealProposal.Proposal
	if most := mostBytes(proposal.PieceSize); a.params.Transfer.Size > uint64(most) {
		return fmt.Errorf("deal size %d is more than the %d bytes the file of a piece of size %d can have", a.params.Transfer.Size, most, proposal.PieceSize)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fault.Wrap(err, "make staging file")
	}
	ctx, cancel := context.WithTimeout(ctx, maxTransfer)
	defer cancel()
	err = (&pull{
		url: a.source.URL, header: a.source.Headers, size: int64(a.params.Transfer.Size),
		client: p.client, received: &a.received,
		silence: p.silence, attempts: pullAttempts, backoff: p.backoff,
		pace: p.pace(),
	}).to(ctx, file)
	return errors.Join(err, file.Close())
}

// mostBytes is the longest file worth reading for a piece: a CARv2 has an index
// beside the CARv1 that is the piece, at most half of it for blocks of any use.
func mostBytes(size abi.PaddedPieceSize) int64 {
	return int64(commp.MaxRawSize(uint64(size)))/2*3 + 1<<20
}

// pace holds bytes up as the provider's faults will have it, whichever
// direction they go.
func (p *provider) pace() func(ctx context.Context, n int) error {
	trickle := rate.NewLimiter(slowBytes, slowBurst)
	return func(ctx context.Context, n int) error {
		if err := p.hold(ctx, Stall|Vanish); err != nil {
			return err
		}
		if p.fault().Has(Slow) {
			return trickle.WaitN(ctx, min(n, slowBurst))
		}
		return nil
	}
}

// verify reads a file once: it must be a CAR, each of its blocks must have the
// digest it is named by, and its commitment must be the deal's. As with Boost,
// the piece of a CARv2 is the CARv1 inside it. Memory is one block, at most
// dag.MaxBlockSize, and the index: some hundred bytes a block of the CAR.
func (p *provider) verify(path string, proposal market.DealProposal) (*heldPiece, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, "open piece")
	}
	defer file.Close()
	piece, err := window(file)
	if err != nil {
		return nil, fmt.Errorf("failed to generate CommP: performing local commp: failed to get CARv2 reader: %w", err)
	}
	piece.path = path
	sum := commp.New()
	r := io.TeeReader(bufio.NewReaderSize(io.NewSectionReader(file, piece.base, piece.size), pullBuffer), sum)
	carErr := piece.index(r)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("failed to generate CommP: performing local commp: %w", err)
	}
	if piece.natural, err = sum.Sum(); err != nil {
		return nil, fmt.Errorf("failed to generate CommP: failed to calculate CommP: %w", err)
	}
	whole := piece.natural
	if padded := uint64(proposal.PieceSize); whole.PaddedSize < padded {
		if whole, err = sum.SumPadded(padded); err != nil {
			return nil, fmt.Errorf("failed to generate CommP: failed to pad commp: %w", err)
		}
	}
	piece.cid = whole.CIDv1
	if p.fault().Has(Lie) {
		whole.CIDv1 = p.made(proposal.PieceCID)
	}
	if whole.CIDv1 != proposal.PieceCID {
		return nil, mismatch(proposal.PieceCID, whole.CIDv1)
	}
	return piece, carErr
}

// made makes up the commitment a lying provider claims.
func (p *provider) made(c cid.Cid) cid.Cid {
	root := sha256.Sum256(append([]byte(p.name), c.Bytes()...))
	root[len(root)-1] &= 0x3f // a commitment has 254 bits
	digest, err := multihash.Encode(root[:], market.PieceCIDPrefix.MhType)
	if err != nil {
		panic(err) // cannot happen: the length fits
	}
	return cid.NewCidV1(market.PieceCIDPrefix.Codec, digest)
}

// window finds the CARv1 in a CAR of either version.
func window(file *os.File) (*heldPiece, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	r, err := car.NewReader(file)
	if err != nil {
		return nil, err
	}
	piece := &heldPiece{size: info.Size(), fileSize: info.Size()}
	if r.Version == 2 {
		base, size := r.Header.DataOffset, r.Header.DataSize
		if whole := uint64(info.Size()); base > whole || size > whole-base {
			return nil, fmt.Errorf("CARv2 header names %d bytes at %d in a file of %d", size, base, whole)
		}
		piece.base, piece.size = int64(base), int64(size)
	} else if _, err := r.Roots(); err != nil {
		return nil, err
	}
	return piece, nil
}

// index remembers where each block of a CAR stands.
func (h *heldPiece) index(r io.Reader) error {
	sections, err := dag.NewCARReader(r, dag.CAROptions{ZeroPadded: true})
	if err != nil {
		return fmt.Errorf("generating index: %w", err)
	}
	h.blocks = map[string]blockAt{}
	for {
		block, at, err := sections.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("generating index: %w", err)
		}
		h.blocks[string(block.Cid().Hash())] = blockAt{off: h.base + at, size: int32(len(block.RawData()))}
	}
}

// stage writes what may be the data of a piece to a new file; more than
// mostBytes is Invalid.
func stage(ctx context.Context, path string, data io.Reader, size abi.PaddedPieceSize) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.Wrap(err, "make staging file")
	}
	most := mostBytes(size)
	n, err := io.Copy(file, io.LimitReader(readerUntil{ctx, data}, most+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return fault.Wrap(err, "read the data")
	}
	if n > most {
		return fault.New(fault.Invalid, "the file of a piece of size %d can have %d bytes at most", size, most)
	}
	return nil
}

// readerUntil ends a copy with its context.
type readerUntil struct {
	ctx context.Context
	io.Reader
}

func (r readerUntil) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
