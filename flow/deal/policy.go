package deal

import (
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/provider"
)

// PolicyState says whether a policy acts.
type PolicyState string

// The states of a policy.
const (
	PolicyActive  PolicyState = "active"
	PolicyPaused  PolicyState = "paused"  // no new deals; the reason says why, "" if a person did it
	PolicyRemoved PolicyState = "removed" // given up; its deals run to their end
)

// Policy is the replication that is wanted.
type Policy struct {
	ID               int64
	Project          int64
	Name             string
	Copies           int      // each with another provider
	Pieces           []int64  // empty: every piece of the project, those to come too
	Providers        []string // empty: any in the index
	Wallet           string   // address that pays and signs
	MaxPrice         string   // attoFIL per GiB and epoch; "0" makes free deals only
	DurationEpochs   int64
	StartDelayEpochs int64 // what a provider has to fetch, publish and prove
	Verified         bool
	DeleteCARAfter   int // active deals after which CARs this node wrote are deleted; 0 keeps them
	// URLTemplate is the Template of where providers fetch the pieces instead of
	// from this node; empty is the node's own setting.
	URLTemplate string
	// HTTPHeaders are sent along to the server of URLTemplate. They are Hidden in
	// every policy that is read.
	HTTPHeaders map[string]string
	State       PolicyState
	Reason      string
	CreatedAt   time.Time
	UpdatedAt   time.Time

	version int64
	headers []byte // HTTPHeaders, sealed
}

// Change is what may be changed of a policy; nil fields stay.
type Change struct {
	Name             *string
	Copies           *int
	Pieces           *[]int64
	Providers        *[]string
	Wallet           *string
	MaxPrice         *string
	DurationEpochs   *int64
	StartDelayEpochs *int64
	Verified         *bool
	DeleteCARAfter   *int
	URLTemplate      *string            // an empty one takes the headers away, too
	HTTPHeaders      *map[string]string // all of them; those that are Hidden stay
}

// PolicyStatus counts what a policy wants and what is true. Copies beyond the
// wanted ones do not count.
type PolicyStatus struct {
	Pieces     int
	Wanted     int // copies
	Active     int // copies that are proven
	InProgress int // copies on their way
	Failed     int // deals of this policy that came to nothing
}

// PolicyFilter picks policies of a project; the zero value picks all that are
// not removed.
type PolicyFilter struct {
	State  PolicyState
	Before int64
	Limit  int // 0 is 50, at most 1000
}

// The limits of policies.
const (
	maxName       = 200  // bytes
	maxCopies     = 100  //
	maxPicks      = 1000 // pieces or providers named by one policy
	minDuration   = 180 * epochsInDay
	maxDuration   = 1278 * epochsInDay // the furthest end of a deal, FIP-0052
	maxPriceBytes = 40
)

// apply makes the changes to a policy.
func (c Change) apply(p *Policy) {
	set(&p.Name, c.Name)
	set(&p.Copies, c.Copies)
	set(&p.Pieces, c.Pieces)
	set(&p.Providers, c.Providers)
	set(&p.Wallet, c.Wallet)
	set(&p.MaxPrice, c.MaxPrice)
	set(&p.DurationEpochs, c.DurationEpochs)
	set(&p.StartDelayEpochs, c.StartDelayEpochs)
	set(&p.Verified, c.Verified)
	set(&p.DeleteCARAfter, c.DeleteCARAfter)
	set(&p.URLTemplate, c.URLTemplate)
	if c.HTTPHeaders != nil {
		p.HTTPHeaders = maps.Clone(*c.HTTPHeaders)
	} else if p.URLTemplate == "" {
		p.HTTPHeaders = nil
	}
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// check refuses what no deal could be made of, and brings lists and addresses
// into their one spelling.
func (p *Policy) check() error {
	p.Name = strings.TrimSpace(p.Name)
	price, ok := new(big.Int).SetString(p.MaxPrice, 10)
	switch {
	case len(p.Name) > maxName:
		return fault.New(fault.Invalid, "policy name: has %d bytes, limit %d", len(p.Name), maxName)
	case p.Copies < 1 || p.Copies > maxCopies:
		return fault.New(fault.Invalid, "policy: copies must be 1 to %d, not %d", maxCopies, p.Copies)
	case p.DeleteCARAfter < 0 || p.DeleteCARAfter > p.Copies:
		return fault.New(fault.Invalid, "policy: CARs are deleted after 1 to %d active deals, the copies it keeps, or with 0 never; not after %d", p.Copies, p.DeleteCARAfter)
	case len(p.Pieces) > maxPicks || len(p.Providers) > maxPicks:
		return fault.New(fault.Invalid, "policy: names %d pieces and %d providers, limit %d each", len(p.Pieces), len(p.Providers), maxPicks)
	case !ok || price.Sign() < 0 || len(p.MaxPrice) > maxPriceBytes:
		return fault.New(fault.Invalid, "policy: max price %.60q must be a whole number of attoFIL per GiB and epoch", p.MaxPrice)
	case p.DurationEpochs < minDuration || p.DurationEpochs > maxDuration:
		return fault.New(fault.Invalid, "policy: a deal lasts %d to %d epochs (180 to 1278 days), not %d", minDuration, maxDuration, p.DurationEpochs)
	case p.StartDelayEpochs < 1 || p.StartDelayEpochs+p.DurationEpochs > maxDuration:
		return fault.New(fault.Invalid, "policy: start delay must be 1 to %d epochs, so that a deal ends within 1278 days, not %d",
			maxDuration-p.DurationEpochs, p.StartDelayEpochs)
	}
	p.MaxPrice = price.String()
	if err := p.checkPlace(); err != nil {
		return err
	}
	slices.Sort(p.Pieces)
	p.Pieces = slices.Compact(p.Pieces)
	for i, actor := range p.Providers {
		name, _, err := provider.ParseActor(actor)
		if err != nil {
			return fault.Wrap(err, "policy")
		}
		p.Providers[i] = name
	}
	slices.Sort(p.Providers)
	p.Providers = slices.Compact(p.Providers)
	if n := len(p.Providers); n > 0 && n < p.Copies {
		return fault.New(fault.Invalid, "policy: %d copies need as many providers, %d are named", p.Copies, n)
	}
	return nil
}

// checkPlace checks where the pieces are fetched.
func (p *Policy) checkPlace() (err error) {
	if err := Template(p.URLTemplate).Check(); err != nil {
		return fault.Wrap(err, "policy url_template")
	}
	if len(p.HTTPHeaders) > 0 && p.URLTemplate == "" {
		return fault.New(fault.Invalid, "policy http_headers: are for the server of url_template, and none is named")
	}
	p.HTTPHeaders, err = checkHeaders(p.HTTPHeaders)
	return err
}

// accepts reports whether a copy with this provider counts for the policy.
func (p Policy) accepts(actor string) bool {
	return len(p.Providers) == 0 || slices.Contains(p.Providers, actor)
}
