package devnet

import (
	"bytes"
	"context"
	"math"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// maxEvents bounds one answer of GetActorEventsRaw.
const maxEvents = 10_000

func eventMethods(l *Ledger) map[string]method {
	return map[string]method{
		"GetActorEventsRaw": call1(func(_ context.Context, f *chain.ActorEventFilter) ([]*chain.ActorEvent, error) {
			return l.findEvents(f)
		}),
		"SubscribeActorEventsRaw": {stream: l.subscribeEvents},
	}
}

// eventRange reads the heights of a filter: none means the head.
func eventRange(f *chain.ActorEventFilter, head abi.ChainEpoch) (from, to abi.ChainEpoch) {
	from, to = head, head
	if f.FromHeight != nil && *f.FromHeight >= 0 {
		from = *f.FromHeight
	}
	if f.ToHeight != nil && *f.ToHeight >= 0 {
		to = *f.ToHeight
	}
	return from, to
}

func (l *Ledger) findEvents(f *chain.ActorEventFilter) ([]*chain.ActorEvent, error) {
	if f == nil {
		f = &chain.ActorEventFilter{}
	}
	from, to := eventRange(f, l.Head())
	found := l.eventsBetween(f, from, to)
	if len(found) > maxEvents {
		return nil, fault.New(fault.Exhausted, "%d events match, the limit is %d: ask for fewer heights", len(found), maxEvents)
	}
	return found, nil
}

func (l *Ledger) eventsBetween(f *chain.ActorEventFilter, from, to abi.ChainEpoch) []*chain.ActorEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []*chain.ActorEvent{}
	for _, e := range l.events {
		inside := e.Height >= from && e.Height <= to
		if f.TipSetKey != nil && len(*f.TipSetKey) > 0 {
			inside = e.TipSetKey.Equal(*f.TipSetKey)
		}
		if inside && l.matches(f, &e) {
			found = append(found, &e)
		}
	}
	return found
}

// matches asks for every field, with any of its values, and any of the addresses.
func (l *Ledger) matches(f *chain.ActorEventFilter, e *chain.ActorEvent) bool {
	emitter := len(f.Addresses) == 0
	for _, a := range f.Addresses {
		if found := l.find(a); found != nil && found.address() == e.Emitter {
			emitter = true
		}
	}
	if !emitter {
		return false
	}
	for key, values := range f.Fields {
		if !hasEntry(e, key, values) {
			return false
		}
	}
	return true
}

func hasEntry(e *chain.ActorEvent, key string, values []chain.ActorEventBlock) bool {
	for _, entry := range e.Entries {
		if entry.Key != key {
			continue
		}
		if len(values) == 0 {
			return true
		}
		for _, v := range values {
			if v.Codec == entry.Codec && bytes.Equal(v.Value, entry.Value) {
				return true
			}
		}
	}
	return false
}

// subscribeEvents streams matching events from FromHeight, or from the next
// tipset on, up to ToHeight if there is one.
func (l *Ledger) subscribeEvents(ctx context.Context, p params) (func(emit func(v any) error), error) {
	var f chain.ActorEventFilter
	if err := p.get(0, &f); err != nil {
		return nil, err
	}
	changes, cancel := l.follow()
	next, last := chain.Undefined, abi.ChainEpoch(math.MaxInt64)
	if f.FromHeight != nil && *f.FromHeight >= 0 {
		next = *f.FromHeight
	}
	if f.ToHeight != nil && *f.ToHeight >= 0 {
		last = *f.ToHeight
	}
	return func(emit func(v any) error) {
		defer cancel()
		each(ctx, changes, func(c []chain.HeadChange) bool {
			head := c[len(c)-1].Val.Height
			if next == chain.Undefined {
				next = head + 1
			}
			for _, e := range l.eventsBetween(&f, next, min(head, last)) {
				if emit(e) != nil {
					return false
				}
			}
			next = max(next, head+1)
			return next <= last
		})
	}, nil
}
