package chain

import (
	"bytes"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// The events of the market actor (FIP-0083), as they stand under "$type".
const (
	DealPublished  = "deal-published"
	DealActivated  = "deal-activated"
	DealTerminated = "deal-terminated"
	DealCompleted  = "deal-completed"
)

// Flags and codec of an event entry.
const (
	EventFlagIndexedAll uint8  = 0x03 // key and value can be searched for
	EventCodecCBOR      uint64 = 0x51
)

// EventEntry is one key and value of an event.
type EventEntry struct {
	Flags uint8
	Key   string
	Codec uint64
	Value []byte
}

// ActorEvent is an event as GetActorEventsRaw answers it.
type ActorEvent struct {
	Entries   []EventEntry    `json:"entries"`
	Emitter   address.Address `json:"emitter"`
	Reverted  bool            `json:"reverted"`
	Height    abi.ChainEpoch  `json:"height"`
	TipSetKey TipSetKey       `json:"tipsetKey"`
	MsgCid    cid.Cid         `json:"msgCid"`
}

// ActorEventBlock is a value to search events for.
type ActorEventBlock struct {
	Codec uint64 `json:"codec"`
	Value []byte `json:"value"`
}

// ActorEventFilter chooses events. Empty members match everything; without
// heights only the head's events match.
type ActorEventFilter struct {
	Addresses  []address.Address            `json:"addresses,omitempty"`
	Fields     map[string][]ActorEventBlock `json:"fields,omitempty"`
	FromHeight *abi.ChainEpoch              `json:"fromHeight,omitempty"`
	ToHeight   *abi.ChainEpoch              `json:"toHeight,omitempty"`
	TipSetKey  *TipSetKey                   `json:"tipsetKey,omitempty"`
}

// DealEvent is a market actor event in words.
type DealEvent struct {
	Type     string
	ID       abi.DealID
	Client   abi.ActorID
	Provider abi.ActorID
}

// Entries encodes the event as the market actor emits it.
func (d DealEvent) Entries() []EventEntry {
	entries := []EventEntry{{Flags: EventFlagIndexedAll, Key: "$type", Codec: EventCodecCBOR, Value: cborText(d.Type)}}
	for _, e := range []struct {
		key   string
		value uint64
	}{{"id", uint64(d.ID)}, {"client", uint64(d.Client)}, {"provider", uint64(d.Provider)}} {
		entries = append(entries, EventEntry{
			Flags: EventFlagIndexedAll, Key: e.key, Codec: EventCodecCBOR,
			Value: cbg.CborEncodeMajorType(cbg.MajUnsignedInt, e.value),
		})
	}
	return entries
}

// Deal reads a market actor event; false when e is something else.
func (e ActorEvent) Deal() (DealEvent, bool) {
	var d DealEvent
	seen := false
	for _, entry := range e.Entries {
		if entry.Codec != EventCodecCBOR {
			continue
		}
		cr := cbg.NewCborReader(bytes.NewReader(entry.Value))
		major, n, err := cr.ReadHeader()
		switch {
		case err != nil:
			return DealEvent{}, false
		case entry.Key == "$type" && major == cbg.MajTextString && n <= uint64(len(entry.Value)):
			d.Type = string(entry.Value[len(entry.Value)-int(n):])
		case entry.Key == "id" && major == cbg.MajUnsignedInt:
			d.ID, seen = abi.DealID(n), true
		case entry.Key == "client" && major == cbg.MajUnsignedInt:
			d.Client = abi.ActorID(n)
		case entry.Key == "provider" && major == cbg.MajUnsignedInt:
			d.Provider = abi.ActorID(n)
		}
	}
	switch d.Type {
	case DealPublished, DealActivated, DealTerminated, DealCompleted:
		return d, seen
	}
	return DealEvent{}, false
}

func cborText(s string) []byte {
	return append(cbg.CborEncodeMajorType(cbg.MajTextString, uint64(len(s))), s...)
}
