package dataset

import (
	"bytes"
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/base/job"
)

// Name is the IPNS name of a dataset: an Ed25519 key of its own, whose records
// say which index is the dataset's. It leads to the index of the latest complete
// preparation, and stays the same for as long as the dataset is there.
type Name struct {
	Project     int64
	Dataset     int64
	Name        string // k51…
	Published   bool   // else nothing is signed any more
	Preparation int64  // whose index it leads to; 0 until one is complete
	Index       string // CID of that index
	Sequence    int64  // of the latest record; grows with each
	Record      []byte // as the IPNS specification has it; nil when there is none
	SignedAt    *time.Time
	RenewAt     *time.Time // signed again then at the latest
	ExpiresAt   *time.Time // when readers take the latest record no more
	Deliveries  []Delivery // to each router that is configured
}

// Delivery is what one delegated router has of a name.
type Delivery struct {
	Router      string // URL, without a password
	Sequence    int64  // of the record that it took last; 0 is none
	Reason      string // why it has not taken the latest
	Attempt     int64  // failures in a row
	NextAttempt *time.Time
	DeliveredAt *time.Time
}

// NameCache is how long readers may go on with a record without asking for a
// newer one.
const NameCache = 5 * time.Minute

// maxRenewal is how long a record goes unrenewed at most: what routers put into
// the public hash table is forgotten there after two days.
const maxRenewal = 24 * time.Hour

// Publish gives a dataset its name, and has it lead to the index of the latest
// complete preparation from now on, whichever that is. Doing it again is no
// error and gives routers another try. Until a preparation is complete there is
// a name, but no record.
func (s *Service) Publish(ctx context.Context, project, dataset int64) (Name, error) {
	err := s.insist(ctx, func(ctx context.Context, tx *db.Tx) error {
		if _, err := datasetByID(ctx, tx, project, dataset); err != nil {
			return err
		}
		row, err := s.claimName(ctx, tx, project, dataset)
		if err != nil {
			return err
		}
		if err := s.sign(ctx, tx, &row); err != nil {
			return err
		}
		return s.deliverAll(ctx, tx, row)
	})
	if err != nil {
		return Name{}, err
	}
	return s.Name(ctx, project, dataset)
}

// claimName returns the published name of a dataset, which it makes when there
// is none. Two who do so at once get the same.
func (s *Service) claimName(ctx context.Context, tx *db.Tx, project, dataset int64) (nameRow, error) {
	row, err := nameOf(ctx, tx, dataset)
	if fault.Is(err, fault.NotFound) {
		key, err := indexdag.NewKey()
		if err != nil {
			return row, err
		}
		secret, err := key.Marshal()
		if err != nil {
			return row, err
		}
		if secret, err = s.seal.Seal(secret); err != nil {
			return row, fault.Wrap(err, "encrypt the key of dataset %d", dataset)
		}
		if err := insertName(ctx, tx, nameRow{ProjectID: project, DatasetID: dataset, Name: key.Name(), Secret: secret, Published: true}, s.now()); err != nil {
			return row, err
		}
		return nameOf(ctx, tx, dataset)
	}
	if err != nil || row.Published {
		return row, err
	}
	return row, row.update(ctx, tx, s.now(), "published = ?", true)
}

// Unpublish stops signing records of a dataset's name, and serving them. Routers
// keep the last one until it expires. The name stays the dataset's, for another
// time. Doing it again is no error; without a name it is NotFound.
func (s *Service) Unpublish(ctx context.Context, project, dataset int64) (Name, error) {
	err := s.insist(ctx, func(ctx context.Context, tx *db.Tx) error {
		d, err := datasetByID(ctx, tx, project, dataset)
		if err != nil {
			return err
		}
		err = s.withdraw(ctx, tx, d.ID)
		if fault.Is(err, fault.NotFound) {
			err = unnamed(d)
		}
		return err
	})
	if err != nil {
		return Name{}, err
	}
	return s.Name(ctx, project, dataset)
}

func (s *Service) withdraw(ctx context.Context, tx *db.Tx, dataset int64) error {
	row, err := nameOf(ctx, tx, dataset)
	if err != nil || !row.Published {
		return err
	}
	if err := row.update(ctx, tx, s.now(), "published = ?, record = NULL, renew_at = NULL", false); err != nil {
		return err
	}
	return announceName(ctx, tx, row, "unpublished")
}

// Name returns the name of a dataset with what became of its latest record;
// NotFound if it was never published.
func (s *Service) Name(ctx context.Context, project, dataset int64) (Name, error) {
	d, err := datasetByID(ctx, s.db.Read(), project, dataset)
	if err != nil {
		return Name{}, err
	}
	row, err := nameOf(ctx, s.db.Read(), dataset)
	if fault.Is(err, fault.NotFound) {
		return Name{}, unnamed(d)
	}
	if err != nil {
		return Name{}, err
	}
	rows, err := routersOf(ctx, s.db.Read(), row.ID)
	n := row.name()
	n.Deliveries = mapped(rows, routerRow.delivery)
	return n, err
}

func unnamed(d Dataset) error {
	return fault.New(fault.NotFound, "dataset %q: has no name; publish it to give it one", d.Name)
}

// Record returns the latest record of a name, k51…, whosever it is: a record is
// for all to read. NotFound if this node publishes none.
func (s *Service) Record(ctx context.Context, name string) ([]byte, error) {
	row, err := publishedName(ctx, s.db.Read(), name)
	if err == nil && len(row.Record) == 0 {
		err = fault.New(fault.NotFound, "name %s: has no record yet; its dataset has no complete preparation", name)
	}
	return bytes.Clone(row.Record), err
}

// sign makes a new record where the name is to lead elsewhere, or the latest is
// due to be renewed.
func (s *Service) sign(ctx context.Context, tx *db.Tx, row *nameRow) error {
	p, err := latestIndex(ctx, tx, row.DatasetID)
	if fault.Is(err, fault.NotFound) {
		if row.Record == nil {
			return nil
		}
		return row.update(ctx, tx, s.now(), "record = NULL, renew_at = NULL, preparation_id = 0, target = ''")
	}
	now := s.now()
	if err != nil || row.Target == p.IndexRoot && row.PreparationID == p.ID && row.RenewAt != nil && now.Before(*row.RenewAt) {
		return err
	}
	key, err := s.keyOf(*row)
	if err != nil {
		return err
	}
	index, err := cid.Decode(p.IndexRoot)
	if err != nil {
		return fault.New(fault.Internal, "preparation %d: its index %q: %w", p.ID, p.IndexRoot, err)
	}
	// A node that was put back to an older state signs above what it forgot.
	sequence := max(row.Sequence+1, now.Unix())
	expires := now.Add(s.settings.NameValidity)
	record, err := key.Record(index, uint64(sequence), expires, NameCache)
	if err != nil {
		return err
	}
	err = row.update(ctx, tx, now, "preparation_id = ?, target = ?, sequence = ?, record = ?, signed_at = ?, renew_at = ?, expires_at = ?",
		p.ID, p.IndexRoot, sequence, record, now, now.Add(s.renewal()), expires)
	if err != nil {
		return err
	}
	return announceName(ctx, tx, *row, "published")
}

func (s *Service) renewal() time.Duration { return min(maxRenewal, s.settings.NameValidity/3) }

func (s *Service) keyOf(row nameRow) (indexdag.Key, error) {
	secret, err := s.seal.Open(row.Secret)
	if err != nil {
		return indexdag.Key{}, fault.Wrap(err, "key of dataset %d", row.DatasetID)
	}
	key, err := indexdag.ParseKey(secret)
	if err == nil && key.Name() != row.Name {
		err = fault.New(fault.Internal, "is that of %s", key.Name())
	}
	return key, fault.Wrap(err, "key of dataset %d, %s", row.DatasetID, row.Name)
}

// nameArgs name the dataset whose name is looked after.
type nameArgs struct {
	Dataset int64 `json:"dataset"`
}

// renewed has the name of a dataset looked after, if it has one.
func (s *Service) renewed(ctx context.Context, tx *db.Tx, dataset int64) error {
	row, err := nameOf(ctx, tx, dataset)
	if fault.Is(err, fault.NotFound) || err == nil && !row.Published {
		return nil
	}
	if err != nil {
		return err
	}
	return job.Enqueue(ctx, s.jobs, tx, signKind, nameArgs{dataset})
}

// runSign signs what is due of one name, and has routers hear of it.
func (s *Service) runSign(ctx context.Context, a nameArgs) error {
	return s.insist(ctx, func(ctx context.Context, tx *db.Tx) error {
		row, err := nameOf(ctx, tx, a.Dataset)
		if err != nil || !row.Published {
			return missing(err)
		}
		if err := s.sign(ctx, tx, &row); err != nil {
			return err
		}
		return s.deliverAll(ctx, tx, row)
	})
}

// missing drops a NotFound: what a job was about is gone.
func missing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// runRenew looks after all published names: records that get old, and routers
// that were configured since.
func (s *Service) runRenew(ctx context.Context) error {
	for after := int64(0); ; {
		page, err := publishedAfter(ctx, s.db.Read(), after, sweepPage)
		if err != nil {
			return err
		}
		for _, row := range page {
			after = row.ID
			if err := s.renewOne(ctx, row); err != nil {
				return err
			}
		}
		if len(page) < sweepPage {
			return nil
		}
	}
}

func (s *Service) renewOne(ctx context.Context, row nameRow) error {
	behind, err := s.behind(ctx, row)
	if err != nil || !behind && (row.RenewAt == nil || s.now().Before(*row.RenewAt)) {
		return err
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		return job.Enqueue(ctx, s.jobs, tx, signKind, nameArgs{row.DatasetID})
	})
}
