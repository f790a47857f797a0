package provider

import (
	"context"
	"database/sql"
	"embed"
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

type providerRow struct {
	bun.BaseModel `bun:"table:provider"`

	ID            int64      `bun:"id,pk,autoincrement"`
	Actor         string     `bun:"actor"`
	PeerID        string     `bun:"peer_id"`
	Multiaddrs    []string   `bun:"multiaddrs,type:text"`
	HTTP          string     `bun:"http"`
	Owner         string     `bun:"owner"`
	SectorSize    int64      `bun:"sector_size"`
	MinPiece      int64      `bun:"min_piece"`
	MaxPiece      int64      `bun:"max_piece"`
	Price         string     `bun:"price"`
	VerifiedPrice string     `bun:"verified_price"`
	State         State      `bun:"state"`
	Reason        string     `bun:"reason"`
	CheckedAt     *time.Time `bun:"checked_at"`
	CreatedAt     time.Time  `bun:"created_at"`
}

func (r providerRow) provider() Provider {
	p := Provider{
		ID: r.ID, Actor: r.Actor, PeerID: r.PeerID, Multiaddrs: r.Multiaddrs, HTTP: r.HTTP, Owner: r.Owner,
		SectorSize: r.SectorSize, MinPiece: r.MinPiece, MaxPiece: r.MaxPiece, Price: r.Price, VerifiedPrice: r.VerifiedPrice,
		State: r.State, Reason: r.Reason, CreatedAt: r.CreatedAt.UTC(),
	}
	if r.CheckedAt != nil {
		at := r.CheckedAt.UTC()
		p.CheckedAt = &at
	}
	return p
}

type observationRow struct {
	bun.BaseModel `bun:"table:provider_observation"`

	ID         int64     `bun:"id,pk,autoincrement"`
	ProviderID int64     `bun:"provider_id"`
	Kind       string    `bun:"kind"`
	OK         bool      `bun:"ok"`
	Code       string    `bun:"code"`
	Reason     string    `bun:"reason"`
	Bytes      int64     `bun:"bytes"`
	TTFBUs     int64     `bun:"ttfb_us"`
	TookUs     int64     `bun:"took_us"`
	At         time.Time `bun:"at"`
}

func (r observationRow) observation() Observation {
	return Observation{
		Provider: r.ProviderID, Kind: r.Kind, OK: r.OK, Code: r.Code, Reason: r.Reason, Bytes: r.Bytes,
		TTFB: time.Duration(r.TTFBUs) * time.Microsecond, Took: time.Duration(r.TookUs) * time.Microsecond, At: r.At.UTC(),
	}
}

// insertProvider reports whether the provider was not there before.
func insertProvider(ctx context.Context, tx *db.Tx, actor string, now time.Time) (bool, error) {
	row := &providerRow{Actor: actor, Multiaddrs: []string{}, Price: "0", VerifiedPrice: "0", State: Unchecked, CreatedAt: now}
	res, err := tx.NewInsert().Model(row).On("CONFLICT (actor) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func deleteProvider(ctx context.Context, tx *db.Tx, actor string) error {
	res, err := tx.NewDelete().Model((*providerRow)(nil)).Where("actor = ?", actor).Exec(ctx)
	if err != nil {
		return fault.Wrap(err, "remove provider %s", actor)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, unknown(actor))
	}
	return nil
}

func unknown(actor string) error {
	return fault.New(fault.NotFound, "provider %s: is not in the index; `firth provider add %s` takes it in", actor, actor)
}

func providerByActor(ctx context.Context, q bun.IDB, actor string) (Provider, error) {
	var row providerRow
	err := q.NewSelect().Model(&row).Where("actor = ?", actor).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Provider{}, unknown(actor)
	}
	return row.provider(), fault.Wrap(err, "provider %s", actor)
}

func providers(ctx context.Context, q bun.IDB, f Filter) ([]Provider, error) {
	var rows []providerRow
	sel := q.NewSelect().Model(&rows).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, providerRow.provider), fault.Wrap(err, "list providers")
}

func onlineProviders(ctx context.Context, q bun.IDB) ([]Provider, error) {
	var rows []providerRow
	err := q.NewSelect().Model(&rows).Where("state = ?", Online).Scan(ctx)
	return mapped(rows, providerRow.provider), fault.Wrap(err, "list providers that are online")
}

// staleProviders returns actors not looked up since a time, the oldest first.
func staleProviders(ctx context.Context, q bun.IDB, before time.Time, limit int64) (actors []string, err error) {
	err = q.NewSelect().Model((*providerRow)(nil)).Column("actor").
		Where("checked_at IS NULL OR checked_at <= ?", before).
		OrderExpr("checked_at, id").Limit(limit).Scan(ctx, &actors)
	return actors, fault.Wrap(err, "find providers to look up")
}

// saveFacts writes what a lookup found, and returns the state before it.
func saveFacts(ctx context.Context, tx *db.Tx, p Provider) (before State, err error) {
	err = tx.NewSelect().Model((*providerRow)(nil)).Column("state").Where("id = ?", p.ID).Scan(ctx, &before)
	if errors.Is(err, sql.ErrNoRows) {
		return "", unknown(p.Actor)
	}
	if err != nil {
		return "", fault.Wrap(err, "provider %s", p.Actor)
	}
	row := &providerRow{
		ID: p.ID, PeerID: p.PeerID, Multiaddrs: p.Multiaddrs, HTTP: p.HTTP, Owner: p.Owner, SectorSize: p.SectorSize,
		MinPiece: p.MinPiece, MaxPiece: p.MaxPiece, Price: p.Price, VerifiedPrice: p.VerifiedPrice,
		State: p.State, Reason: p.Reason, CheckedAt: p.CheckedAt,
	}
	res, err := tx.NewUpdate().Model(row).ExcludeColumn("id", "actor", "created_at").
		Where("id = ? AND state = ?", p.ID, before).Exec(ctx)
	return before, db.One(res, err, "provider %s from %s to %s", p.Actor, before, p.State)
}

func insertObservation(ctx context.Context, tx *db.Tx, o Observation) error {
	row := &observationRow{
		ProviderID: o.Provider, Kind: o.Kind, OK: o.OK, Code: o.Code, Reason: o.Reason, Bytes: o.Bytes,
		TTFBUs: o.TTFB.Microseconds(), TookUs: o.Took.Microseconds(), At: db.Now(o.At),
	}
	_, err := tx.NewInsert().Model(row).Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "note %s of provider %d", o.Kind, o.Provider)
}

func observationsOf(ctx context.Context, q bun.IDB, provider int64, limit int) ([]Observation, error) {
	var rows []observationRow
	err := q.NewSelect().Model(&rows).Where("provider_id = ?", provider).Order("id DESC").Limit(pageLimit(limit)).Scan(ctx)
	return mapped(rows, observationRow.observation), fault.Wrap(err, "observations of provider %d", provider)
}

// failures counts what went wrong with each provider since a time. Being
// looked up in vain does not count: it shows in the state.
func failures(ctx context.Context, q bun.IDB, since time.Time) (map[int64]int, error) {
	var rows []struct {
		ProviderID int64
		N          int
	}
	err := q.NewSelect().Model((*observationRow)(nil)).ColumnExpr("provider_id, COUNT(*) AS n").
		Where("NOT ok AND kind <> ? AND at > ?", kindRefresh, since).Group("provider_id").Scan(ctx, &rows)
	counts := make(map[int64]int, len(rows))
	for _, r := range rows {
		counts[r.ProviderID] = r.N
	}
	return counts, fault.Wrap(err, "count failures of providers")
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
