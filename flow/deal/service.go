package deal

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/base/wallet"
)

// Service is the only way to deals and policies.
type Service struct {
	db        *db.DB
	jobs      *job.Client
	pieces    Pieces
	providers Providers
	market    Market
	chain     Chain
	wallet    Wallet
	links     Links
	seal      Seal
	clock     func() time.Time
	random    io.Reader
	log       *slog.Logger
	settings  Settings
}

// New makes the service. random must be safe for concurrent use.
func New(d *db.DB, jobs *job.Client, pieces Pieces, providers Providers, market Market, c Chain, w Wallet, links Links, seal Seal,
	clock func() time.Time, random io.Reader, log *slog.Logger, s Settings) *Service {
	return &Service{
		db: d, jobs: jobs, pieces: pieces, providers: providers, market: market, chain: c, wallet: w, links: links, seal: seal,
		clock: clock, random: random, log: log, settings: s.withDefaults(),
	}
}

func (s *Service) now() time.Time { return db.Now(s.clock()) }

// Deals returns a page of the project's deals, newest first.
func (s *Service) Deals(ctx context.Context, project int64, f Filter) ([]Deal, error) {
	if f.State != "" && !f.State.known() {
		return nil, fault.New(fault.Invalid, "deal state %q: there is no such state", string(f.State))
	}
	return deals(ctx, s.db.Read(), project, f)
}

// Get returns a deal of the project by its UUID, with its observations, oldest
// first.
func (s *Service) Get(ctx context.Context, project int64, name string) (Deal, []Observation, error) {
	id, err := uuid.Parse(name)
	if err != nil {
		return Deal{}, nil, fault.New(fault.Invalid, "deal %.60q: is no UUID: %w", name, err)
	}
	d, err := dealByUUID(ctx, s.db.Read(), project, id.String())
	if err != nil {
		return Deal{}, nil, err
	}
	seen, err := observationsOf(ctx, s.db.Read(), d.ID)
	return d, seen, err
}

// Liveness tells a provider whether a deal, named by its UUID or the CID of its
// signed proposal, is still wanted. One that never was made is NotFound.
func (s *Service) Liveness(ctx context.Context, ref string) (wanted bool, state State, err error) {
	if id, err := uuid.Parse(ref); err == nil {
		ref = id.String()
	}
	d, err := dealByRef(ctx, s.db.Read(), ref)
	return err == nil && d.State.Live(), d.State, err
}

// Copies tells how many copies the pieces of a plan have: those of the piece
// that lacks most. wanted is 0 while no policy covers all of them.
func (s *Service) Copies(ctx context.Context, plan int64) (wanted, active int, err error) {
	p, err := s.pieces.Plan(ctx, plan)
	if err != nil || len(p.Pieces) == 0 {
		return 0, 0, err
	}
	ids := make([]int64, len(p.Pieces))
	for i, one := range p.Pieces {
		ids[i] = one.ID
	}
	counted, err := copiesOf(ctx, s.db.Read(), ids)
	if err != nil {
		return 0, 0, err
	}
	for i, id := range ids {
		c, covered := counted[id]
		if !covered || c.wanted == 0 {
			return 0, 0, nil
		}
		if i == 0 || c.active-c.wanted < active-wanted {
			wanted, active = c.wanted, c.active
		}
	}
	return wanted, active, nil
}

// CreatePolicy declares a policy, which acts at once. What is left out takes
// the node's defaults: copies, wallet (the first of the keystore), duration and
// start delay.
func (s *Service) CreatePolicy(ctx context.Context, project int64, p Policy) (Policy, error) {
	p.Project, p.State, p.Reason, p.CreatedAt = project, PolicyActive, "", s.now()
	if p.Copies == 0 {
		p.Copies = s.settings.Copies
	}
	if p.DurationEpochs == 0 {
		p.DurationEpochs = s.settings.DurationEpochs
	}
	if p.StartDelayEpochs == 0 {
		p.StartDelayEpochs = s.settings.StartDelayEpochs
	}
	if p.MaxPrice == "" {
		p.MaxPrice = "0"
	}
	p.UpdatedAt = p.CreatedAt
	picked, err := s.examine(ctx, &p)
	if err != nil {
		return Policy{}, err
	}
	if err := s.lock(&p, Policy{}); err != nil {
		return Policy{}, err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := lockPosition(ctx, tx); err != nil {
			return err
		}
		if p.ID, err = insertPolicy(ctx, tx, p); err != nil {
			return err
		}
		if err := cover(ctx, tx, p, picked, s.now()); err != nil {
			return err
		}
		return announcePolicy(ctx, tx, p)
	})
	return p, fault.Wrap(err, "create policy %q", p.Name)
}

// examine checks a policy and returns the pieces it names.
func (s *Service) examine(ctx context.Context, p *Policy) ([]target, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := s.chooseWallet(p); err != nil {
		return nil, err
	}
	picked := make([]target, len(p.Pieces))
	for i, id := range p.Pieces {
		found, err := s.pieces.Get(ctx, p.Project, strconv.FormatInt(id, 10))
		if err != nil {
			return nil, fault.Wrap(err, "policy")
		}
		picked[i] = targetOf(found)
	}
	return picked, nil
}

// chooseWallet sees to it that the keystore can sign for the policy.
func (s *Service) chooseWallet(p *Policy) error {
	keys := s.wallet.List()
	if p.Wallet == "" {
		if len(keys) == 0 {
			return fault.New(fault.Invalid, "policy: there is no wallet; make one with `firth wallet new`, or import one")
		}
		p.Wallet = wallet.FormatAddress(keys[0])
		return nil
	}
	addr, err := wallet.ParseAddress(p.Wallet)
	if err != nil {
		return fault.Wrap(err, "policy wallet")
	}
	p.Wallet = wallet.FormatAddress(addr)
	for _, k := range keys {
		if k == addr {
			return nil
		}
	}
	return fault.New(fault.Invalid, "policy wallet %s: the keystore has no key for it; `firth wallet ls` lists those it has", p.Wallet)
}

// Policy returns a policy of the project. A removed one is still there.
func (s *Service) Policy(ctx context.Context, project, id int64) (Policy, error) {
	return policyByID(ctx, s.db.Read(), project, id)
}

// Policies returns a page of the project's policies, newest first.
func (s *Service) Policies(ctx context.Context, project int64, f PolicyFilter) ([]Policy, error) {
	return policies(ctx, s.db.Read(), project, f)
}

// PolicyStatus compares what a policy wants with what is true.
func (s *Service) PolicyStatus(ctx context.Context, project, id int64) (PolicyStatus, error) {
	p, err := s.Policy(ctx, project, id)
	if err != nil {
		return PolicyStatus{}, err
	}
	return statusOf(ctx, s.db.Read(), p)
}

// UpdatePolicy changes a policy. Deals already made stay as they are. Where it
// says anew where pieces are fetched, those who could not are asked at once. It
// is a Conflict when somebody else changed the policy at the same moment.
func (s *Service) UpdatePolicy(ctx context.Context, project, id int64, c Change) (Policy, error) {
	p, err := s.Policy(ctx, project, id)
	if err != nil {
		return Policy{}, err
	}
	if p.State == PolicyRemoved {
		return Policy{}, removed(id)
	}
	before := p
	c.apply(&p)
	picked, err := s.examine(ctx, &p)
	if err != nil {
		return Policy{}, err
	}
	if err := s.lock(&p, before); err != nil {
		return Policy{}, err
	}
	return s.changePolicy(ctx, p, func(ctx context.Context, tx *db.Tx, p Policy) error {
		if c.URLTemplate != nil || c.HTTPHeaders != nil {
			if err := forgetFetches(ctx, tx, p.ID); err != nil {
				return err
			}
		}
		return cover(ctx, tx, p, picked, s.now())
	})
}

// PausePolicy stops new deals until ResumePolicy. Deals under way go on.
// Pausing twice is no error.
func (s *Service) PausePolicy(ctx context.Context, project, id int64) (Policy, error) {
	return s.switchPolicy(ctx, project, id, PolicyPaused, "")
}

// ResumePolicy lets a paused policy act again, at once.
func (s *Service) ResumePolicy(ctx context.Context, project, id int64) (Policy, error) {
	return s.switchPolicy(ctx, project, id, PolicyActive, "")
}

// RemovePolicy gives a policy up. Its deals run to their end. Removing twice is
// no error.
func (s *Service) RemovePolicy(ctx context.Context, project, id int64) error {
	_, err := s.switchPolicy(ctx, project, id, PolicyRemoved, "")
	return err
}

func (s *Service) switchPolicy(ctx context.Context, project, id int64, to PolicyState, reason string) (Policy, error) {
	p, err := s.Policy(ctx, project, id)
	if err != nil || p.State == to {
		return p, err
	}
	if p.State == PolicyRemoved {
		return Policy{}, removed(id)
	}
	p.State, p.Reason = to, reason
	return s.changePolicy(ctx, p, func(ctx context.Context, tx *db.Tx, p Policy) error {
		if to == PolicyRemoved {
			return uncover(ctx, tx, p.ID)
		}
		return wakeTargets(ctx, tx, p.ID, s.now())
	})
}

// changePolicy writes a policy that was read before, together with what follows
// from the change.
func (s *Service) changePolicy(ctx context.Context, p Policy, also func(context.Context, *db.Tx, Policy) error) (Policy, error) {
	p.UpdatedAt = s.now()
	err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := lockPosition(ctx, tx); err != nil {
			return err
		}
		if err := savePolicy(ctx, tx, p); err != nil {
			return err
		}
		if err := also(ctx, tx, p); err != nil {
			return err
		}
		return announcePolicy(ctx, tx, p)
	})
	return p, fault.Wrap(err, "change policy %d", p.ID)
}

func removed(policy int64) error {
	return fault.New(fault.Conflict, "policy %d: has been removed; make a new one", policy)
}

// policyFact is the data of a policy's events.
type policyFact struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	Copies int    `json:"copies"`
	Reason string `json:"reason,omitempty"`
}

func announcePolicy(ctx context.Context, tx *db.Tx, p Policy) error {
	return event.Append(ctx, tx, event.Event{
		At: p.UpdatedAt, Kind: "policy." + string(p.State), Project: p.Project, Subject: "policy/" + strconv.FormatInt(p.ID, 10),
		Data: event.JSON(policyFact{p.ID, p.Name, p.Copies, p.Reason}),
	})
}
