package deal

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the tables of this package, for db.Migrate.
func Migrations() fs.FS { return migrations }

type dealRow struct {
	bun.BaseModel `bun:"table:deal"`

	ID          int64      `bun:"id,pk,autoincrement"`
	UUID        string     `bun:"deal_uuid"`
	ProjectID   int64      `bun:"project_id"`
	PolicyID    int64      `bun:"policy_id"`
	PieceID     int64      `bun:"piece_id"`
	PieceCID    string     `bun:"piece_cid"`
	Provider    string     `bun:"provider"`
	Market      string     `bun:"market"`
	Client      string     `bun:"client"`
	State       State      `bun:"state"`
	Reason      string     `bun:"reason"`
	ProposalCID string     `bun:"proposal_cid"`
	PublishCID  string     `bun:"publish_cid"`
	ChainID     int64      `bun:"chain_id"`
	OnChain     bool       `bun:"on_chain"`
	StartEpoch  int64      `bun:"start_epoch"`
	EndEpoch    int64      `bun:"end_epoch"`
	Price       string     `bun:"price"`
	Cost        string     `bun:"cost"`
	FetchURL    string     `bun:"fetch_url"`
	Outside     bool       `bun:"outside"`
	Request     []byte     `bun:"request"`
	Sealed      bool       `bun:"request_sealed"`
	Progress    string     `bun:"progress"`
	ProgressAt  time.Time  `bun:"progress_at"`
	LostEpoch   int64      `bun:"lost_epoch"`
	NextCheckAt *time.Time `bun:"next_check_at"`
	CreatedAt   time.Time  `bun:"created_at"`
	UpdatedAt   time.Time  `bun:"updated_at"`
}

func rowOf(d Deal) *dealRow {
	return &dealRow{
		ID: d.ID, UUID: d.UUID, ProjectID: d.Project, PolicyID: d.Policy, PieceID: d.Piece, PieceCID: d.PieceCID,
		Provider: d.Provider, Market: d.Market, Client: d.Client, State: d.State, Reason: d.Reason,
		ProposalCID: d.ProposalCID, PublishCID: d.PublishCID, ChainID: d.DealID, OnChain: d.onChain,
		StartEpoch: d.StartEpoch, EndEpoch: d.EndEpoch, Price: d.Price, Cost: d.cost,
		FetchURL: d.URL, Outside: d.Outside, Request: d.request, Sealed: d.sealed,
		Progress: d.progress, ProgressAt: d.progressAt, LostEpoch: d.lostEpoch, NextCheckAt: d.NextCheck,
		CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
}

func (r dealRow) deal() Deal {
	d := Deal{
		ID: r.ID, UUID: r.UUID, Project: r.ProjectID, Policy: r.PolicyID, Piece: r.PieceID, PieceCID: r.PieceCID,
		Provider: r.Provider, Market: r.Market, Client: r.Client, State: r.State, Reason: r.Reason,
		ProposalCID: r.ProposalCID, PublishCID: r.PublishCID, DealID: r.ChainID, onChain: r.OnChain,
		StartEpoch: r.StartEpoch, EndEpoch: r.EndEpoch, Price: r.Price, cost: r.Cost,
		URL: r.FetchURL, Outside: r.Outside, request: r.Request, sealed: r.Sealed,
		progress: r.Progress, progressAt: r.ProgressAt.UTC(), lostEpoch: r.LostEpoch,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.NextCheckAt != nil {
		at := r.NextCheckAt.UTC()
		d.NextCheck = &at
	}
	return d
}

type observationRow struct {
	bun.BaseModel `bun:"table:deal_observation"`

	ID       int64     `bun:"id,pk,autoincrement"`
	DealID   int64     `bun:"deal_id"`
	At       time.Time `bun:"at"`
	Source   Source    `bun:"source"`
	From     State     `bun:"from_state"`
	To       State     `bun:"to_state"`
	Reason   string    `bun:"reason"`
	Evidence string    `bun:"evidence"`
}

func (r observationRow) observation() Observation {
	o := Observation{At: r.At.UTC(), Source: r.Source, From: r.From, To: r.To, Reason: r.Reason}
	if r.Evidence != "" {
		o.Evidence = json.RawMessage(r.Evidence)
	}
	return o
}

// insertDeal reports whether the deal was made: not if the provider has a live
// one about the piece.
func insertDeal(ctx context.Context, tx *db.Tx, d *Deal) (bool, error) {
	var ids []int64
	_, err := tx.NewInsert().Model(rowOf(*d)).
		On("CONFLICT (piece_id, provider) WHERE state IN ('draft', 'sending', 'proposed', 'transferring', 'published', 'active') DO NOTHING").
		Returning("id").Exec(ctx, &ids)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(ids) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fault.Wrap(err, "insert deal about piece %d with %s", d.Piece, d.Provider)
	}
	d.ID = ids[0]
	return true, nil
}

// saveDeal writes a deal if it is still in the state it was read in.
func saveDeal(ctx context.Context, tx *db.Tx, d Deal, from State) error {
	res, err := tx.NewUpdate().Model(rowOf(d)).
		ExcludeColumn("id", "deal_uuid", "project_id", "policy_id", "piece_id", "piece_cid", "provider", "created_at").
		Where("id = ? AND state = ?", d.ID, from).Exec(ctx)
	return db.One(res, err, "deal %s from %s to %s", d.UUID, from, d.State)
}

func insertObservation(ctx context.Context, tx *db.Tx, deal int64, o Observation) error {
	row := &observationRow{
		DealID: deal, At: o.At, Source: o.Source, From: o.From, To: o.To, Reason: o.Reason, Evidence: string(o.Evidence),
	}
	_, err := tx.NewInsert().Model(row).Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "note deal %d", deal)
}

func observationsOf(ctx context.Context, q bun.IDB, deal int64) ([]Observation, error) {
	var rows []observationRow
	err := q.NewSelect().Model(&rows).Where("deal_id = ?", deal).Order("id").Scan(ctx)
	return mapped(rows, observationRow.observation), fault.Wrap(err, "observations of deal %d", deal)
}

func dealByID(ctx context.Context, q bun.IDB, id int64) (Deal, error) {
	return oneDeal(ctx, q.NewSelect().Where("id = ?", id), id)
}

func dealByUUID(ctx context.Context, q bun.IDB, project int64, name string) (Deal, error) {
	return oneDeal(ctx, q.NewSelect().Where("deal_uuid = ? AND project_id = ?", name, project), name)
}

// dealByRef finds a deal of any project by UUID or proposal CID.
func dealByRef(ctx context.Context, q bun.IDB, ref string) (Deal, error) {
	if ref == "" {
		return Deal{}, fault.New(fault.Invalid, "deal: want a UUID or the CID of a signed proposal")
	}
	d, err := oneDeal(ctx, q.NewSelect().Where("deal_uuid = ?", ref), ref)
	if fault.Is(err, fault.NotFound) {
		return oneDeal(ctx, q.NewSelect().Where("proposal_cid = ?", ref).Order("id DESC").Limit(1), ref)
	}
	return d, err
}

func oneDeal(ctx context.Context, q *bun.SelectQuery, ref any) (Deal, error) {
	var row dealRow
	err := q.Model(&row).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Deal{}, fault.New(fault.NotFound, "deal %v: there is none; `firth deal ls` lists them", ref)
	}
	return row.deal(), fault.Wrap(err, "deal %v", ref)
}

func deals(ctx context.Context, q bun.IDB, project int64, f Filter) ([]Deal, error) {
	var rows []dealRow
	sel := q.NewSelect().Model(&rows).ExcludeColumn("request").Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	}
	if f.Piece != 0 {
		sel.Where("piece_id = ?", f.Piece)
	}
	if f.Provider != "" {
		sel.Where("provider = ?", f.Provider)
	}
	if f.Policy != 0 {
		sel.Where("policy_id = ?", f.Policy)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, dealRow.deal), fault.Wrap(err, "list deals of project %d", project)
}

// liveDeals returns the deals that are copies of a piece, or may become ones.
func liveDeals(ctx context.Context, q bun.IDB, piece int64) ([]Deal, error) {
	var rows []dealRow
	err := q.NewSelect().Model(&rows).ExcludeColumn("request").
		Where("piece_id = ? AND state IN (?)", piece, bun.List(liveStates())).Order("id").Scan(ctx)
	return mapped(rows, dealRow.deal), fault.Wrap(err, "live deals of piece %d", piece)
}

// dueDeals returns the deals whose time to be checked has come.
func dueDeals(ctx context.Context, q bun.IDB, now time.Time, limit int64) ([]Deal, error) {
	var rows []dealRow
	err := q.NewSelect().Model(&rows).ExcludeColumn("request").
		Where("next_check_at IS NOT NULL AND next_check_at <= ?", now).Order("next_check_at").Limit(limit).Scan(ctx)
	return mapped(rows, dealRow.deal), fault.Wrap(err, "find deals to check")
}

// claimCheck takes a deal that is due for the caller until a time; Conflict
// when somebody else has taken it.
func claimCheck(ctx context.Context, tx *db.Tx, d Deal, until time.Time) error {
	res, err := tx.NewUpdate().Model((*dealRow)(nil)).Set("next_check_at = ?", until).
		Where("id = ? AND next_check_at = ?", d.ID, d.NextCheck).Exec(ctx)
	return db.One(res, err, "check deal %s", d.UUID)
}

// hastenChecks has deals checked now that the chain says something about.
func hastenChecks(ctx context.Context, tx *db.Tx, chainIDs []int64, now time.Time) error {
	_, err := tx.NewUpdate().Model((*dealRow)(nil)).Set("next_check_at = ?", now).
		Where("on_chain AND chain_id IN (?) AND next_check_at > ?", bun.List(chainIDs), now).Exec(ctx)
	return fault.Wrap(err, "hasten %d checks", len(chainIDs))
}

// boundBy returns the costs of a wallet's deals that the chain does not hold
// money for yet.
func boundBy(ctx context.Context, q bun.IDB, client string, except int64) (costs []string, err error) {
	err = q.NewSelect().Model((*dealRow)(nil)).Column("cost").
		Where("client = ? AND state IN ('sending', 'proposed', 'transferring') AND cost <> '0' AND id <> ?", client, except).Scan(ctx, &costs)
	return costs, fault.Wrap(err, "money bound by deals of %s", client)
}

// pageLimit turns a wanted page size into one that is allowed.
func pageLimit(n int) int64 {
	if n <= 0 {
		return 50
	}
	return int64(min(n, 1000))
}

// mapped applies a row's conversion to each row.
func mapped[R, T any](rows []R, convert func(R) T) []T {
	all := make([]T, len(rows))
	for i, r := range rows {
		all[i] = convert(r)
	}
	return all
}
