package provider

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/mk12"
)

// Service is the only way to providers.
type Service struct {
	db       *db.DB
	jobs     *job.Client
	chain    *chain.Client
	peers    *mk12.Client
	clock    func() time.Time
	random   io.Reader
	log      *slog.Logger
	settings Settings
}

// New makes the service. The chain says who a provider is, peers ask it for its
// terms, and equally good ones are ordered by random, which must be safe for
// concurrent use.
func New(d *db.DB, jobs *job.Client, c *chain.Client, peers *mk12.Client, clock func() time.Time, random io.Reader, log *slog.Logger, s Settings) *Service {
	if s.Memory <= 0 {
		s.Memory = defaultMemory
	}
	return &Service{db: d, jobs: jobs, chain: c, peers: peers, clock: clock, random: random, log: log, settings: s}
}

func (s *Service) now() time.Time { return db.Now(s.clock()) }

// Add takes a provider into the index and looks it up. One that is there
// already is looked up again; one the chain does not know is not taken in.
// While the chain cannot be asked it stays Unchecked, to be looked up later.
func (s *Service) Add(ctx context.Context, actor string) (Provider, error) {
	name, addr, err := ParseActor(actor)
	if err != nil {
		return Provider{}, err
	}
	if _, err := s.chain.MinerInfo(ctx, addr); err != nil && fault.KindOf(err) != fault.Unavailable {
		return Provider{}, fault.New(fault.Invalid, "provider %s: the chain knows no such provider: %w", name, err)
	}
	now := s.now()
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		added, err := insertProvider(ctx, tx, name, now)
		if err != nil || !added {
			return err
		}
		return s.announce(ctx, tx, Provider{Actor: name, State: Unchecked}, now)
	})
	if err != nil {
		return Provider{}, fault.Wrap(err, "add provider %s", name)
	}
	return s.Refresh(ctx, name)
}

// Remove takes a provider out of the index, with what was observed of it.
// Deals with it stay what they are.
func (s *Service) Remove(ctx context.Context, actor string) error {
	name, _, err := ParseActor(actor)
	if err != nil {
		return err
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := deleteProvider(ctx, tx, name); err != nil {
			return err
		}
		return event.Append(ctx, tx, event.Event{At: s.now(), Kind: "provider.removed", Subject: "provider/" + name})
	})
}

// Get returns a provider by its actor.
func (s *Service) Get(ctx context.Context, actor string) (Provider, error) {
	name, _, err := ParseActor(actor)
	if err != nil {
		return Provider{}, err
	}
	return providerByActor(ctx, s.db.Read(), name)
}

// List returns a page of providers, newest first.
func (s *Service) List(ctx context.Context, f Filter) ([]Provider, error) {
	return providers(ctx, s.db.Read(), f)
}

// Observe records what was lived through with a provider.
func (s *Service) Observe(ctx context.Context, tx *db.Tx, o Observation) error {
	if o.At.IsZero() {
		o.At = s.now()
	}
	return insertObservation(ctx, tx, o)
}

// Observations returns the newest observations of a provider, newest first.
func (s *Service) Observations(ctx context.Context, actor string, limit int) ([]Observation, error) {
	p, err := s.Get(ctx, actor)
	if err != nil {
		return nil, err
	}
	return observationsOf(ctx, s.db.Read(), p.ID, limit)
}

// Candidates returns the providers that can be offered what is wanted, the best
// first: fewer recent failures, then the lower price, then by chance.
func (s *Service) Candidates(ctx context.Context, w Want) ([]Provider, error) {
	online, err := onlineProviders(ctx, s.db.Read())
	if err != nil {
		return nil, err
	}
	failed, err := failures(ctx, s.db.Read(), s.now().Add(-s.settings.Memory))
	if err != nil {
		return nil, err
	}
	fit := make([]candidate, 0, len(online))
	for _, p := range online {
		if w.refusal(p) == "" {
			fit = append(fit, candidate{Provider: p, failures: failed[p.ID], price: amount(p.AskPrice(w.Verified))})
		}
	}
	draws := make([]byte, 8*len(fit))
	if _, err := io.ReadFull(s.random, draws); err != nil {
		return nil, fault.Wrap(err, "draw an order of providers")
	}
	for i := range fit {
		fit[i].draw = binary.LittleEndian.Uint64(draws[8*i:])
	}
	best(fit)
	out := make([]Provider, len(fit))
	for i, c := range fit {
		out[i] = c.Provider
	}
	return out, nil
}

// providerFact is the data of a provider's events.
type providerFact struct {
	Actor  string `json:"actor"`
	HTTP   string `json:"http,omitempty"`
	Price  string `json:"price,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (s *Service) announce(ctx context.Context, tx *db.Tx, p Provider, now time.Time) error {
	return event.Append(ctx, tx, event.Event{
		At: now, Kind: "provider." + string(p.State), Subject: fmt.Sprintf("provider/%s", p.Actor),
		Data: event.JSON(providerFact{p.Actor, p.HTTP, p.Price, p.Reason}),
	})
}
