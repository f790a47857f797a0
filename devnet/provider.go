package devnet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/mk12"
	"github.com/firth-project/firth/base/wallet"
)

const (
	maxDeals   = 10_000    // a provider's, failed ones included; each keeps its proposal, about 1 KiB
	maxPulling = 4         // transfers at a time, the rest wait
	askEpochs  = 1_000_000 // how long an ask holds
)

// provider is one storage provider: it answers deals, gets their data, seals by
// timer and serves what it holds. It implements mk12.Provider.
type provider struct {
	id      address.Address
	name    string // f01000
	home    string
	ledger  *Ledger
	worker  wallet.Key
	terms   Terms
	timers  Timers
	log     *slog.Logger
	held    *shelf
	client  *http.Client
	silence time.Duration // longest wait for bytes in a pull
	backoff time.Duration // before a pull is tried again
	doors   doors
	pulling chan struct{}

	ctx  context.Context // of all work; ends with the network
	work sync.WaitGroup

	mu         sync.Mutex
	faults     Fault
	changed    chan struct{} // closed and replaced when the faults change
	deals      map[uuid.UUID]*agreement
	proposals  map[cid.Cid]*agreement
	queue      []*agreement // verified, not in a publish message yet
	parked     []func()     // steps that wait for a fault to end
	nextSector abi.SectorNumber
}

// agreement is a deal as its provider sees it. What stands below the line is
// guarded by provider.mu.
type agreement struct {
	params   mk12.DealParams
	source   mk12.HTTPParams // of an online deal
	signer   address.Address // the client's key address
	signed   cid.Cid         // of the signed proposal, Boost's way
	created  time.Time
	received atomic.Int64 // bytes

	checkpoint mk12.Checkpoint
	sealing    string
	failure    string
	importing  bool // an offline deal's file is being read
	piece      *heldPiece
	shelved    bool // the piece counts this deal as a reason to keep it
	active     bool
	publish    *cid.Cid
	chainID    abi.DealID
	sector     abi.SectorNumber
}

// Propose implements mk12.Provider.
func (p *provider) Propose(_ context.Context, from peer.ID, params mk12.DealParams) mk12.DealResponse {
	a, err := p.judge(params)
	if err != nil {
		return p.refusal(params, from, fmt.Errorf("failed validation: %w", err))
	}
	if err := p.accept(a); err != nil {
		return p.refusal(params, from, err)
	}
	p.log.Info("deal accepted", "uuid", params.DealUUID, "peer", from, "offline", params.IsOffline)
	return mk12.DealResponse{Accepted: true}
}

func (p *provider) refusal(params mk12.DealParams, from peer.ID, err error) mk12.DealResponse {
	p.log.Info("deal refused", "uuid", params.DealUUID, "peer", from, "reason", err)
	return mk12.DealResponse{Message: err.Error()}
}

// judge checks signature and terms.
func (p *provider) judge(params mk12.DealParams) (*agreement, error) {
	proposal := params.ClientDealProposal.Proposal
	signer, datacap, err := p.ledger.client(proposal.Client)
	if err != nil {
		return nil, refuse("server error: validating signature")
	}
	return agree(params, signer, standing{
		provider:  p.id,
		head:      p.ledger.Head(),
		bounds:    p.ledger.CollateralBounds(proposal.PieceSize, proposal.VerifiedDeal),
		available: p.ledger.Available(proposal.Client),
		datacap:   datacap,
		terms:     p.terms,
	})
}

// agree makes the agreement of a proposal that is good as things stand.
func agree(params mk12.DealParams, signer address.Address, s standing) (*agreement, error) {
	if err := checkSignature(params.ClientDealProposal, signer); err != nil {
		return nil, err
	}
	if err := s.check(params.ClientDealProposal.Proposal); err != nil {
		return nil, err
	}
	signed, err := mk12.SignedProposalCID(params.ClientDealProposal)
	if err != nil {
		return nil, refuse("server error: signed proposal cid")
	}
	return &agreement{
		params: params, signer: signer, signed: signed, created: time.Now().UTC().Round(0),
		checkpoint: mk12.Accepted, sealing: noSector,
	}, nil
}

// accept takes a deal on if it is not there yet, and starts it. A proposal sent
// twice is refused and leaves the first as it is.
func (p *provider) accept(a *agreement) (err error) {
	if !a.params.IsOffline {
		if a.source, err = checkTransfer(a.params.Transfer); err != nil {
			return fmt.Errorf("server error: get deal transfer host: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.proposals[a.signed]; ok {
		return refuse("deal proposal is identical to deal %s (proposed at %s)", b.params.DealUUID, b.created)
	}
	if b, ok := p.deals[a.params.DealUUID]; ok {
		return refuse("deal has the same uuid as deal %s (proposed at %s)", b.params.DealUUID, b.created)
	}
	if p.faults.Has(Reject) {
		return refuse("deal filter says no: maintenance window")
	}
	if len(p.deals) >= maxDeals {
		return refuse("server error: provider has no space left for storage deals")
	}
	p.deals[a.params.DealUUID], p.proposals[a.signed] = a, a
	if !a.params.IsOffline {
		p.work.Go(func() { p.transfer(p.ctx, a) })
	}
	return nil
}

// Status implements mk12.Provider.
func (p *provider) Status(_ context.Context, r mk12.DealStatusRequest) mk12.DealStatusResponse {
	answer := mk12.DealStatusResponse{DealUUID: r.DealUUID}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.deals[r.DealUUID]
	if !ok {
		answer.Error = fmt.Sprintf("no storage deal found with deal UUID %s", r.DealUUID)
		return answer
	}
	if wallet.Verify(r.Signature, a.signer, r.DealUUID[:]) != nil {
		answer.Error = "signature verification failed"
		return answer
	}
	answer.IsOffline = a.params.IsOffline
	answer.TransferSize = a.params.Transfer.Size
	answer.NBytesReceived = uint64(a.received.Load())
	answer.DealStatus = &mk12.DealStatus{
		Error: a.failure, Status: a.checkpoint, SealingStatus: a.sealing,
		Proposal: a.params.ClientDealProposal.Proposal, SignedProposalCid: a.signed,
		PublishCid: a.publish, ChainDealID: a.chainID,
	}
	return answer
}

// Ask implements mk12.Provider. The ask is signed by the worker.
func (p *provider) Ask(_ context.Context, miner address.Address) mk12.AskResponse {
	if miner != p.id {
		return mk12.AskResponse{}
	}
	head := p.ledger.Head()
	ask := &mk12.StorageAsk{
		Price: p.terms.Price, VerifiedPrice: p.terms.VerifiedPrice,
		MinPieceSize: p.terms.MinPieceSize, MaxPieceSize: p.terms.MaxPieceSize,
		Miner: p.id, Timestamp: head, Expiry: head + askEpochs, SeqNo: 1,
	}
	var signed bytes.Buffer
	if err := ask.MarshalCBOR(&signed); err != nil {
		p.log.Error("ask not encoded", "err", err)
		return mk12.AskResponse{}
	}
	signature, err := p.worker.Sign(signed.Bytes())
	if err != nil {
		p.log.Error("ask not signed", "err", err)
		return mk12.AskResponse{}
	}
	return mk12.AskResponse{Ask: &mk12.SignedStorageAsk{Ask: ask, Signature: &signature}}
}

// Transports implements mk12.Provider.
func (p *provider) Transports(context.Context) mk12.TransportsResponse {
	return mk12.TransportsResponse{Protocols: []mk12.Transport{
		{Name: "http", Addresses: []abi.Multiaddrs{p.doors.places().webAddr.Bytes()}},
	}}
}

// importData gives an offline deal its data. Data that are not the deal's are
// Invalid and leave the deal waiting for others.
func (p *provider) importData(ctx context.Context, id uuid.UUID, data io.Reader) error {
	p.mu.Lock()
	a, ok := p.deals[id]
	waiting := ok && a.params.IsOffline && a.checkpoint == mk12.Accepted && !a.importing
	if waiting {
		a.importing = true
	}
	p.mu.Unlock()
	switch {
	case !ok:
		return fault.New(fault.NotFound, "no storage deal found with deal UUID %s", id)
	case !waiting:
		return fault.New(fault.Conflict, "deal %s is not an offline deal that waits for its data", id)
	}
	if p.expired(a) {
		return fault.New(fault.Conflict, "deal %s: its start epoch has passed", id)
	}
	piece, err := p.readIn(ctx, a, data)
	p.mu.Lock()
	a.importing, a.piece = false, piece
	p.mu.Unlock()
	if err != nil {
		p.remove(p.stagingPath(a))
		return err
	}
	p.verified(a)
	return nil
}

func (p *provider) readIn(ctx context.Context, a *agreement, data io.Reader) (*heldPiece, error) {
	if err := stage(ctx, p.stagingPath(a), data, a.params.ClientDealProposal.Proposal.PieceSize); err != nil {
		return nil, err
	}
	piece, err := p.verify(p.stagingPath(a), a.params.ClientDealProposal.Proposal)
	if err != nil {
		return nil, fault.New(fault.Invalid, "error when matching commP for imported data for offline deal: %w", err)
	}
	a.received.Store(piece.fileSize)
	return piece, nil
}

func (p *provider) stagingPath(a *agreement) string {
	return filepath.Join(p.home, "staging", a.params.DealUUID.String())
}

// fault returns the faults that stand.
func (p *provider) fault() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// setFault changes the faults and lets go on what waited for one of them.
func (p *provider) setFault(f Fault) error {
	p.mu.Lock()
	before := p.faults
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
	parked := p.parked
	p.parked = nil
	var doomed []*agreement
	for _, a := range p.deals {
		if f.Has(Slash) && !before.Has(Slash) && a.active {
			doomed = append(doomed, a)
		}
	}
	p.mu.Unlock()
	slices.SortFunc(doomed, func(a, b *agreement) int { return int(a.chainID) - int(b.chainID) })
	for _, step := range parked {
		p.later(1, step)
	}
	for _, a := range doomed {
		p.later(p.timers.Slash, func() { p.slash(a) })
	}
	switch {
	case f.Has(Vanish) && !before.Has(Vanish):
		return p.doors.shut()
	case before.Has(Vanish) && !f.Has(Vanish):
		return p.doors.open(p)
	}
	return nil
}

// hold waits while any of the faults stands.
func (p *provider) hold(ctx context.Context, any Fault) error {
	for {
		p.mu.Lock()
		held, changed := p.faults&any != 0, p.changed
		p.mu.Unlock()
		if !held {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// client resolves a deal's client, which may be an id or a key address, to the
// address its key signs for, and tells its datacap. NotFound without an actor.
func (l *Ledger) client(addr address.Address) (key address.Address, datacap *abi.StoragePower, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.find(addr)
	if a == nil {
		return address.Undef, nil, actorNotFound(addr)
	}
	if a.datacap != nil {
		left := big.Add(*a.datacap, big.Zero())
		datacap = &left
	}
	return a.robust, datacap, nil
}

// makeHome makes the folders of a provider's files.
func (p *provider) makeHome() error {
	for _, dir := range []string{"staging", "pieces"} {
		if err := os.MkdirAll(filepath.Join(p.home, dir), 0o700); err != nil {
			return fault.Wrap(err, "make home of provider %s", p.name)
		}
	}
	return nil
}
