package deal

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

type policyRow struct {
	bun.BaseModel `bun:"table:deal_policy"`

	ID               int64       `bun:"id,pk,autoincrement"`
	ProjectID        int64       `bun:"project_id"`
	Name             string      `bun:"name"`
	Copies           int         `bun:"copies"`
	EveryPiece       bool        `bun:"every_piece"`
	Pieces           []int64     `bun:"pieces,type:text"`
	Providers        []string    `bun:"providers,type:text"`
	Wallet           string      `bun:"wallet"`
	MaxPrice         string      `bun:"max_price"`
	DurationEpochs   int64       `bun:"duration_epochs"`
	StartDelayEpochs int64       `bun:"start_delay_epochs"`
	Verified         bool        `bun:"verified"`
	DeleteCARAfter   int         `bun:"delete_car_after"`
	URLTemplate      string      `bun:"url_template"`
	HeaderNames      []string    `bun:"header_names,type:text"`
	Headers          []byte      `bun:"headers"`
	State            PolicyState `bun:"state"`
	Reason           string      `bun:"reason"`
	Version          int64       `bun:"version"`
	CreatedAt        time.Time   `bun:"created_at"`
	UpdatedAt        time.Time   `bun:"updated_at"`
}

func policyRowOf(p Policy) *policyRow {
	return &policyRow{
		ID: p.ID, ProjectID: p.Project, Name: p.Name, Copies: p.Copies, EveryPiece: len(p.Pieces) == 0,
		Pieces: append([]int64{}, p.Pieces...), Providers: append([]string{}, p.Providers...), Wallet: p.Wallet, MaxPrice: p.MaxPrice,
		DurationEpochs: p.DurationEpochs, StartDelayEpochs: p.StartDelayEpochs, Verified: p.Verified, DeleteCARAfter: p.DeleteCARAfter,
		URLTemplate: p.URLTemplate, HeaderNames: append([]string{}, slices.Sorted(maps.Keys(p.HTTPHeaders))...), Headers: p.headers,
		State: p.State, Reason: p.Reason, Version: p.version, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
}

func (r policyRow) policy() Policy {
	return Policy{
		ID: r.ID, Project: r.ProjectID, Name: r.Name, Copies: r.Copies, Pieces: r.Pieces, Providers: r.Providers,
		Wallet: r.Wallet, MaxPrice: r.MaxPrice, DurationEpochs: r.DurationEpochs, StartDelayEpochs: r.StartDelayEpochs,
		Verified: r.Verified, DeleteCARAfter: r.DeleteCARAfter,
		URLTemplate: r.URLTemplate, HTTPHeaders: hidden(r.HeaderNames), headers: r.Headers, State: r.State, Reason: r.Reason, version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// target is a piece as deals know it.
type target struct {
	bun.BaseModel `bun:"table:deal_piece"`

	ID         int64      `bun:"id,pk"`
	ProjectID  int64      `bun:"project_id"`
	PieceCID   string     `bun:"piece_cid"`
	PieceCIDv1 string     `bun:"piece_cid_v1"`
	Root       string     `bun:"root"`
	CARSize    int64      `bun:"car_size"`
	PaddedSize int64      `bun:"padded_size"`
	Turn       int64      `bun:"turn"`
	Waits      int        `bun:"waits"`
	Reason     string     `bun:"reason"`
	NextAt     *time.Time `bun:"next_at"`
}

func targetOf(p piece.Piece) target {
	return target{
		ID: p.ID, ProjectID: p.Project, PieceCID: p.CID, PieceCIDv1: p.CIDv1, Root: p.Root,
		CARSize: p.CARSize, PaddedSize: p.PaddedSize,
	}
}

type targetRow struct {
	bun.BaseModel `bun:"table:deal_target"`

	PolicyID int64 `bun:"policy_id,pk"`
	PieceID  int64 `bun:"piece_id,pk"`
}

func insertPolicy(ctx context.Context, tx *db.Tx, p Policy) (int64, error) {
	row := policyRowOf(p)
	_, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx)
	return row.ID, fault.Wrap(err, "insert policy")
}

// savePolicy writes a policy if nobody has since it was read.
func savePolicy(ctx context.Context, tx *db.Tx, p Policy) error {
	res, err := tx.NewUpdate().Model(policyRowOf(p)).ExcludeColumn("id", "project_id", "created_at", "version").
		Set("version = version + 1").Where("id = ? AND version = ?", p.ID, p.version).Exec(ctx)
	return db.One(res, err, "change policy %d", p.ID)
}

// holdPolicy keeps others from changing the policy until the transaction ends.
func holdPolicy(ctx context.Context, tx *db.Tx, id int64) (Policy, error) {
	var rows []policyRow
	_, err := tx.NewUpdate().Model(&rows).Set("version = version").Where("id = ?", id).Returning("*").Exec(ctx)
	if err != nil || len(rows) == 0 {
		return Policy{}, errors.Join(err, fault.New(fault.NotFound, "policy %d: there is none with that id", id))
	}
	return rows[0].policy(), nil
}

func policyByID(ctx context.Context, q bun.IDB, project, id int64) (Policy, error) {
	var row policyRow
	err := q.NewSelect().Model(&row).Where("id = ? AND project_id = ?", id, project).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Policy{}, fault.New(fault.NotFound, "policy %d: this project has none with that id", id)
	}
	return row.policy(), fault.Wrap(err, "policy %d", id)
}

func policies(ctx context.Context, q bun.IDB, project int64, f PolicyFilter) ([]Policy, error) {
	var rows []policyRow
	sel := q.NewSelect().Model(&rows).Where("project_id = ?", project).Order("id DESC").Limit(pageLimit(f.Limit))
	if f.State != "" {
		sel.Where("state = ?", f.State)
	} else {
		sel.Where("state <> ?", PolicyRemoved)
	}
	if f.Before != 0 {
		sel.Where("id < ?", f.Before)
	}
	err := sel.Scan(ctx)
	return mapped(rows, policyRow.policy), fault.Wrap(err, "list policies of project %d", project)
}

// policiesOver returns the policies that cover a piece, the oldest first.
func policiesOver(ctx context.Context, q bun.IDB, piece int64) ([]Policy, error) {
	var rows []policyRow
	err := q.NewSelect().Model(&rows).
		Where("id IN (SELECT policy_id FROM deal_target WHERE piece_id = ?) AND state <> ?", piece, PolicyRemoved).Order("id").Scan(ctx)
	return mapped(rows, policyRow.policy), fault.Wrap(err, "policies over piece %d", piece)
}

// Targets.

// lockPosition returns how far the pieces have been taken over, and keeps
// others from joining pieces and policies until the transaction ends.
func lockPosition(ctx context.Context, tx *db.Tx) (pos int64, err error) {
	err = tx.NewRaw("UPDATE deal_position SET pos = pos WHERE id = 1 RETURNING pos").Scan(ctx, &pos)
	return pos, fault.Wrap(err, "lock the position")
}

func position(ctx context.Context, q bun.IDB) (pos int64, err error) {
	err = q.NewRaw("SELECT pos FROM deal_position WHERE id = 1").Scan(ctx, &pos)
	return pos, fault.Wrap(err, "read the position")
}

func savePosition(ctx context.Context, tx *db.Tx, pos int64) error {
	_, err := tx.NewRaw("UPDATE deal_position SET pos = ? WHERE id = 1 AND pos < ?", pos, pos).Exec(ctx)
	return fault.Wrap(err, "save the position")
}

// knownTargets returns which pieces between two ids, both included, are here.
func knownTargets(ctx context.Context, q bun.IDB, first, last int64) (map[int64]bool, error) {
	var ids []int64
	err := q.NewSelect().Model((*target)(nil)).Column("id").Where("id BETWEEN ? AND ?", first, last).Scan(ctx, &ids)
	known := make(map[int64]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	return known, fault.Wrap(err, "list pieces from %d to %d", first, last)
}

// insertTargets takes pieces over, and puts them under the policies that are
// about every piece of their project.
func insertTargets(ctx context.Context, tx *db.Tx, ts []target, now time.Time) error {
	if len(ts) == 0 {
		return nil
	}
	ids := make([]int64, len(ts))
	for i := range ts {
		ts[i].NextAt, ids[i] = &now, ts[i].ID
	}
	if _, err := tx.NewInsert().Model(&ts).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fault.Wrap(err, "take %d pieces over", len(ts))
	}
	_, err := tx.NewRaw(`INSERT INTO deal_target (policy_id, piece_id)
		SELECT policy.id, one.id FROM deal_piece AS one JOIN deal_policy AS policy ON policy.project_id = one.project_id
		WHERE one.id IN (?) AND policy.every_piece AND policy.state <> 'removed'
		ON CONFLICT (policy_id, piece_id) DO NOTHING`, bun.List(ids)).Exec(ctx)
	return fault.Wrap(err, "put %d pieces under policies", len(ts))
}

// cover puts exactly those pieces under a policy that it is about: picked, or
// every one of the project if none are. All are looked at again.
func cover(ctx context.Context, tx *db.Tx, p Policy, picked []target, now time.Time) error {
	if err := uncover(ctx, tx, p.ID); err != nil {
		return err
	}
	if len(picked) == 0 {
		_, err := tx.NewRaw(`INSERT INTO deal_target (policy_id, piece_id)
			SELECT ?, id FROM deal_piece WHERE project_id = ?`, p.ID, p.Project).Exec(ctx)
		if err != nil {
			return fault.Wrap(err, "put pieces under policy %d", p.ID)
		}
		return wakeTargets(ctx, tx, p.ID, now)
	}
	if err := insertTargets(ctx, tx, picked, now); err != nil {
		return err
	}
	rows := make([]targetRow, len(picked))
	for i, t := range picked {
		rows[i] = targetRow{PolicyID: p.ID, PieceID: t.ID}
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (policy_id, piece_id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fault.Wrap(err, "put pieces under policy %d", p.ID)
	}
	return wakeTargets(ctx, tx, p.ID, now)
}

func uncover(ctx context.Context, tx *db.Tx, policy int64) error {
	_, err := tx.NewDelete().Model((*targetRow)(nil)).Where("policy_id = ?", policy).Exec(ctx)
	return fault.Wrap(err, "take pieces from under policy %d", policy)
}

// wakeTargets has all pieces of a policy looked at again.
func wakeTargets(ctx context.Context, tx *db.Tx, policy int64, now time.Time) error {
	_, err := tx.NewUpdate().Model((*target)(nil)).Set("next_at = ?, waits = 0, turn = turn + 1", now).
		Where("id IN (SELECT piece_id FROM deal_target WHERE policy_id = ?)", policy).Exec(ctx)
	return fault.Wrap(err, "wake the pieces of policy %d", policy)
}

// wakeTarget has a piece looked at again.
func wakeTarget(ctx context.Context, tx *db.Tx, piece int64, now time.Time) error {
	_, err := tx.NewUpdate().Model((*target)(nil)).Set("next_at = ?, waits = 0, turn = turn + 1", now).Where("id = ?", piece).Exec(ctx)
	return fault.Wrap(err, "wake piece %d", piece)
}

// wakeWaiting has all pieces looked at again that wait for a provider.
func wakeWaiting(ctx context.Context, tx *db.Tx, now time.Time) error {
	_, err := tx.NewUpdate().Model((*target)(nil)).Set("next_at = ?, waits = 0, turn = turn + 1", now).Where("next_at > ?", now).Exec(ctx)
	return fault.Wrap(err, "wake the pieces that wait")
}

// dueTargets returns the pieces whose time to be looked at has come.
func dueTargets(ctx context.Context, q bun.IDB, now time.Time, limit int64) (ts []target, err error) {
	err = q.NewSelect().Model(&ts).Where("next_at IS NOT NULL AND next_at <= ?", now).Order("next_at").Limit(limit).Scan(ctx)
	return ts, fault.Wrap(err, "find pieces that lack copies")
}

func targetByID(ctx context.Context, q bun.IDB, piece int64) (t target, err error) {
	err = q.NewSelect().Model(&t).Where("id = ?", piece).Scan(ctx)
	return t, fault.Wrap(err, "piece %d", piece)
}

func targetsOf(ctx context.Context, q bun.IDB, policy int64, limit int64) (ts []target, err error) {
	err = q.NewSelect().Model(&ts).Where("id IN (SELECT piece_id FROM deal_target WHERE policy_id = ?)", policy).
		Order("id").Limit(limit).Scan(ctx)
	return ts, fault.Wrap(err, "pieces of policy %d", policy)
}

// saveTarget ends a turn at a piece; Conflict when something about it changed
// since it was read.
func saveTarget(ctx context.Context, tx *db.Tx, t target) error {
	res, err := tx.NewUpdate().Model((*target)(nil)).
		Set("turn = turn + 1, waits = ?, reason = ?, next_at = ?", t.Waits, t.Reason, t.NextAt).
		Where("id = ? AND turn = ?", t.ID, t.Turn).Exec(ctx)
	return db.One(res, err, "look at piece %d", t.ID)
}

// Counting.

type count struct{ wanted, active int }

// copiesOf counts, for the pieces that policies cover, the copies wanted and
// those that are proven.
func copiesOf(ctx context.Context, q bun.IDB, pieces []int64) (map[int64]count, error) {
	var rows []struct {
		PieceID        int64
		Wanted, Active int
	}
	err := q.NewRaw(`SELECT t.piece_id AS piece_id, MAX(p.copies) AS wanted,
			(SELECT COUNT(*) FROM deal AS d WHERE d.piece_id = t.piece_id AND d.state = 'active') AS active
		FROM deal_target AS t JOIN deal_policy AS p ON p.id = t.policy_id
		WHERE t.piece_id IN (?) AND p.state <> 'removed' GROUP BY t.piece_id`, bun.List(pieces)).Scan(ctx, &rows)
	counts := make(map[int64]count, len(rows))
	for _, r := range rows {
		counts[r.PieceID] = count{r.Wanted, r.Active}
	}
	return counts, fault.Wrap(err, "count copies of %d pieces", len(pieces))
}

// statusOf counts what a policy wants and what is true.
func statusOf(ctx context.Context, q bun.IDB, p Policy) (PolicyStatus, error) {
	var st PolicyStatus
	providers := p.Providers
	if len(providers) == 0 {
		providers = []string{""}
	}
	err := q.NewRaw(`SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN c.active > ? THEN ? ELSE c.active END), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN c.active >= ? THEN 0 WHEN c.active + c.coming > ? THEN ? - c.active ELSE c.coming END), 0) AS BIGINT),
			(SELECT COUNT(*) FROM deal WHERE policy_id = ? AND state IN ('slashed', 'terminated', 'rejected', 'proposal_expired', 'failed'))
		FROM deal_target AS t LEFT JOIN (
			SELECT piece_id, SUM(CASE WHEN state = 'active' THEN 1 ELSE 0 END) AS active,
				SUM(CASE WHEN state = 'active' THEN 0 ELSE 1 END) AS coming
			FROM deal WHERE state IN (?) AND (? OR provider IN (?))
				AND piece_id IN (SELECT piece_id FROM deal_target WHERE policy_id = ?) GROUP BY piece_id
		) AS c ON c.piece_id = t.piece_id WHERE t.policy_id = ?`,
		p.Copies, p.Copies, p.Copies, p.Copies, p.Copies, p.ID,
		bun.List(liveStates()), len(p.Providers) == 0, bun.List(providers), p.ID, p.ID,
	).Scan(ctx, &st.Pieces, &st.Active, &st.InProgress, &st.Failed)
	st.Wanted = st.Pieces * p.Copies
	return st, fault.Wrap(err, "status of policy %d", p.ID)
}

// Attempts.

type attempt struct {
	bun.BaseModel `bun:"table:deal_attempt"`

	PieceID     int64     `bun:"piece_id,pk"`
	Provider    string    `bun:"provider,pk"`
	Failures    int       `bun:"failures"`
	NextAttempt time.Time `bun:"next_attempt_at"`
	Reason      string    `bun:"reason"`
	FetchURL    string    `bun:"fetch_url"` // from where the piece was not to be had, if that was it
}

// attemptsAt returns what went wrong about a piece, by provider.
func attemptsAt(ctx context.Context, q bun.IDB, piece int64) (map[string]attempt, error) {
	var rows []attempt
	err := q.NewSelect().Model(&rows).Where("piece_id = ?", piece).Scan(ctx)
	all := make(map[string]attempt, len(rows))
	for _, r := range rows {
		r.NextAttempt = r.NextAttempt.UTC()
		all[r.Provider] = r
	}
	return all, fault.Wrap(err, "attempts at piece %d", piece)
}

// failuresAt returns how often a provider has failed about a piece.
func failuresAt(ctx context.Context, q bun.IDB, piece int64, provider string) (n int, err error) {
	err = q.NewSelect().Model((*attempt)(nil)).Column("failures").Where("piece_id = ? AND provider = ?", piece, provider).Scan(ctx, &n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, fault.Wrap(err, "attempts at piece %d with %s", piece, provider)
}

func saveAttempt(ctx context.Context, tx *db.Tx, a attempt) error {
	_, err := tx.NewInsert().Model(&a).On("CONFLICT (piece_id, provider) DO UPDATE").
		Set("failures = EXCLUDED.failures").Set("next_attempt_at = EXCLUDED.next_attempt_at").Set("reason = EXCLUDED.reason").
		Set("fetch_url = EXCLUDED.fetch_url").
		Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "note attempt at piece %d with %s", a.PieceID, a.Provider)
}

// fetchFailures returns how often in a row, one attempt after the other, a
// piece was not to be had from an outside URL, whoever tried. Attempts that were
// made at once are one.
func fetchFailures(ctx context.Context, tx *db.Tx, piece int64, url string, now time.Time) (n int, err error) {
	err = tx.NewSelect().Model((*attempt)(nil)).ColumnExpr("CAST(COALESCE(MAX(failures), 0) AS BIGINT)").
		Where("piece_id = ? AND fetch_url = ? AND next_attempt_at <= ?", piece, url, now).Scan(ctx, &n)
	return n, fault.Wrap(err, "attempts to fetch piece %d", piece)
}

// forgetAttempt takes back what a proven deal disproves: that its provider
// failed about the piece, and that the piece is not where it was fetched.
func forgetAttempt(ctx context.Context, tx *db.Tx, d Deal) error {
	_, err := tx.NewDelete().Model((*attempt)(nil)).
		Where("piece_id = ? AND (provider = ? OR fetch_url <> '' AND fetch_url = ?)", d.Piece, d.Provider, d.URL).Exec(ctx)
	return fault.Wrap(err, "forget attempts at piece %d with %s", d.Piece, d.Provider)
}

// forgetFetches takes back that pieces of a policy were not to be had from
// where they were fetched.
func forgetFetches(ctx context.Context, tx *db.Tx, policy int64) error {
	_, err := tx.NewDelete().Model((*attempt)(nil)).
		Where("fetch_url <> '' AND piece_id IN (SELECT piece_id FROM deal_target WHERE policy_id = ?)", policy).Exec(ctx)
	return fault.Wrap(err, "forget attempts to fetch the pieces of policy %d", policy)
}
