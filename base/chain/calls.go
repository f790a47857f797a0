package chain

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
)

// anyLookback lets StateSearchMsg and StateWaitMsg look back without limit.
const anyLookback abi.ChainEpoch = -1

// atHead asks for the state of the newest tipset.
func atHead() TipSetKey { return TipSetKey{} }

// Version says what the node is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "Version")
}

// Head returns the newest tipset.
func (c *Client) Head(ctx context.Context) (*TipSet, error) {
	return getTipSet(ctx, c, "ChainHead")
}

// Genesis returns the first tipset; its Time is the chain's origin.
func (c *Client) Genesis(ctx context.Context) (*TipSet, error) {
	return getTipSet(ctx, c, "ChainGetGenesis")
}

// TipSet returns a tipset by its key.
func (c *Client) TipSet(ctx context.Context, key TipSetKey) (*TipSet, error) {
	return getTipSet(ctx, c, "ChainGetTipSet", key)
}

// TipSetAt returns the tipset of a height or, after a null round, the one before.
func (c *Client) TipSetAt(ctx context.Context, height abi.ChainEpoch) (*TipSet, error) {
	return getTipSet(ctx, c, "ChainGetTipSetByHeight", height, atHead())
}

// NetworkName returns the network's name; mainnet's is "testnetnet".
func (c *Client) NetworkName(ctx context.Context) (string, error) {
	return get[string](ctx, c, "StateNetworkName")
}

// NetworkVersion returns the version of the protocol at the head.
func (c *Client) NetworkVersion(ctx context.Context) (network.Version, error) {
	return get[network.Version](ctx, c, "StateNetworkVersion", atHead())
}

// MinerInfo returns what the chain says about a provider.
func (c *Client) MinerInfo(ctx context.Context, provider address.Address) (MinerInfo, error) {
	return get[MinerInfo](ctx, c, "StateMinerInfo", provider, atHead())
}

// MinerPower returns a provider's power and the network's.
func (c *Client) MinerPower(ctx context.Context, provider address.Address) (MinerPower, error) {
	return get[MinerPower](ctx, c, "StateMinerPower", provider, atHead())
}

// LookupID returns the f0 address of an actor.
func (c *Client) LookupID(ctx context.Context, a address.Address) (address.Address, error) {
	return get[address.Address](ctx, c, "StateLookupID", a, atHead())
}

// LookupRobust returns an actor's address that survives a reorganisation.
func (c *Client) LookupRobust(ctx context.Context, a address.Address) (address.Address, error) {
	return get[address.Address](ctx, c, "StateLookupRobustAddress", a, atHead())
}

// AccountKey returns the key address of an account.
func (c *Client) AccountKey(ctx context.Context, a address.Address) (address.Address, error) {
	return get[address.Address](ctx, c, "StateAccountKey", a, atHead())
}

// Actor returns an actor's entry in the state.
func (c *Client) Actor(ctx context.Context, a address.Address) (Actor, error) {
	return get[Actor](ctx, c, "StateGetActor", a, atHead())
}

// WalletBalance returns an account's attoFIL; zero for one that does not exist.
func (c *Client) WalletBalance(ctx context.Context, a address.Address) (abi.TokenAmount, error) {
	return get[abi.TokenAmount](ctx, c, "WalletBalance", a)
}

// MarketBalance returns an account's escrow.
func (c *Client) MarketBalance(ctx context.Context, a address.Address) (MarketBalance, error) {
	return get[MarketBalance](ctx, c, "StateMarketBalance", a, atHead())
}

// MarketDeal returns a published deal. NotFound means never published or
// already deleted: the last known state and the epochs tell which.
func (c *Client) MarketDeal(ctx context.Context, id abi.DealID) (MarketDeal, error) {
	return get[MarketDeal](ctx, c, "StateMarketStorageDeal", id, atHead())
}

// CollateralBounds returns what a provider may and must bind for a piece.
func (c *Client) CollateralBounds(ctx context.Context, size abi.PaddedPieceSize, verified bool) (CollateralBounds, error) {
	return get[CollateralBounds](ctx, c, "StateDealProviderCollateralBounds", size, verified, atHead())
}

// Datacap returns a verified client's bytes left, and false for any other account.
func (c *Client) Datacap(ctx context.Context, a address.Address) (abi.StoragePower, bool, error) {
	left, err := get[*abi.StoragePower](ctx, c, "StateVerifiedClientStatus", a, atHead())
	if err != nil || left == nil {
		return big.Zero(), false, err
	}
	return *left, true, nil
}

// Nonce returns the nonce of the sender's next message, those in the pool counted.
func (c *Client) Nonce(ctx context.Context, a address.Address) (uint64, error) {
	return get[uint64](ctx, c, "MpoolGetNonce", a)
}

// EstimateGas returns the message with its gas fields filled in.
func (c *Client) EstimateGas(ctx context.Context, m Message) (Message, error) {
	return get[Message](ctx, c, "GasEstimateMessageGas", withAmounts(m), nil, atHead())
}

// withAmounts replaces nil amounts, which nodes refuse, by zero.
func withAmounts(m Message) Message {
	for _, v := range []*abi.TokenAmount{&m.Value, &m.GasFeeCap, &m.GasPremium} {
		if v.Int == nil {
			*v = big.Zero()
		}
	}
	return m
}

// Push sends a signed message and returns its CID.
func (c *Client) Push(ctx context.Context, s SignedMessage) (cid.Cid, error) {
	s.Message = withAmounts(s.Message)
	return get[cid.Cid](ctx, c, "MpoolPush", s)
}

// Message returns a message by its CID.
func (c *Client) Message(ctx context.Context, name cid.Cid) (Message, error) {
	return get[Message](ctx, c, "ChainGetMessage", name)
}

// SearchMsg returns where a message was executed; NotFound when the node does
// not know that it was.
func (c *Client) SearchMsg(ctx context.Context, name cid.Cid) (MsgLookup, error) {
	m, err := get[*MsgLookup](ctx, c, "StateSearchMsg", atHead(), name, anyLookback, true)
	if err == nil && m == nil {
		err = fault.New(fault.NotFound, "message %s was not found executed", name)
	}
	if err != nil {
		return MsgLookup{}, err
	}
	return *m, nil
}

// WaitMsg waits until a message was executed and has confidence epochs on top.
func (c *Client) WaitMsg(ctx context.Context, name cid.Cid, confidence uint64) (MsgLookup, error) {
	var m MsgLookup
	err := c.call(ctx, waitTimeout, &m, "StateWaitMsg", name, confidence, anyLookback, true)
	return m, err
}

// ActorEvents returns the events a filter chooses, oldest first. Many nodes do
// not keep events: Invalid or Unavailable then.
func (c *Client) ActorEvents(ctx context.Context, f ActorEventFilter) ([]ActorEvent, error) {
	return get[[]ActorEvent](ctx, c, "GetActorEventsRaw", f)
}

// WalletSign has the node sign bytes with a key it holds.
func (c *Client) WalletSign(ctx context.Context, a address.Address, msg []byte) (crypto.Signature, error) {
	sig, err := get[*crypto.Signature](ctx, c, "WalletSign", a, msg)
	if err == nil && sig == nil {
		err = fault.New(fault.Unavailable, "WalletSign: the node answered no signature")
	}
	if err != nil {
		return crypto.Signature{}, err
	}
	return *sig, nil
}

// WalletHas reports whether the node holds an address' key.
func (c *Client) WalletHas(ctx context.Context, a address.Address) (bool, error) {
	return get[bool](ctx, c, "WalletHas", a)
}
