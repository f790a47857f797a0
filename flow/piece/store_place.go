package piece

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// placeState is what becomes of a CAR at a place, as one holder sees it.
type placeState string

const (
	placeKept     placeState = "kept"
	placeReleased placeState = "released" // this holder wants it no more
	placeDeleting placeState = "deleting" // nobody does; it may be gone already
	placeGone     placeState = "gone"
)

// inStore begins the places that are keys of the blob store.
const inStore = "blob:"

type placeRow struct {
	bun.BaseModel `bun:"table:piece_place"`

	ID        int64      `bun:"id,pk,autoincrement"`
	PieceID   int64      `bun:"piece_id"`
	Place     string     `bun:"place"`
	Holder    string     `bun:"holder"`
	State     placeState `bun:"state"`
	Reason    string     `bun:"reason"`
	CreatedAt time.Time  `bun:"created_at"`
	UpdatedAt time.Time  `bun:"updated_at"`
}

// lockPlace returns who has to do with a place, and keeps others from changing
// that until the transaction ends.
func lockPlace(ctx context.Context, tx *db.Tx, place string) (rows []placeRow, err error) {
	_, err = tx.NewUpdate().Model(&rows).Set("updated_at = updated_at").Where("place = ?", place).Returning("*").Exec(ctx)
	return rows, fault.Wrap(err, "lock place %s", place)
}

// keepPlace makes somebody a holder of a CAR.
func keepPlace(ctx context.Context, tx *db.Tx, piece int64, place, holder string, now time.Time) error {
	row := &placeRow{PieceID: piece, Place: place, Holder: holder, State: placeKept, CreatedAt: now, UpdatedAt: now}
	_, err := tx.NewInsert().Model(row).On("CONFLICT (place, piece_id, holder) DO UPDATE").
		Set("state = EXCLUDED.state, reason = EXCLUDED.reason, updated_at = EXCLUDED.updated_at").Returning("NULL").Exec(ctx)
	return fault.Wrap(err, "keep the CAR at %s", place)
}

// releasePlaces ends the holding of a piece's CARs that this node has written,
// and returns where those are. What was imported is its owner's.
func releasePlaces(ctx context.Context, tx *db.Tx, piece int64, reason string, now time.Time) ([]string, error) {
	var rows []placeRow
	_, err := tx.NewUpdate().Model(&rows).Set("state = ?, reason = ?, updated_at = ?", placeReleased, reason, now).
		Where("piece_id = ? AND state = ?", piece, placeKept).
		Where("place NOT IN (SELECT place FROM piece_import WHERE state <> ?)", ImportFailed).
		Where("NOT (place LIKE 'blob:%' AND EXISTS (?))", importedCopies(tx, piece)).Returning("*").Exec(ctx)
	return placesIn(rows), fault.Wrap(err, "release the CARs of piece %d", piece)
}

// importedCopies finds CARs that somebody has put into the blob store, where
// equal pieces of all projects have one place.
func importedCopies(q bun.IDB, piece int64) *bun.SelectQuery {
	return q.NewSelect().TableExpr("piece_import AS i").ColumnExpr("1").Join("JOIN piece AS theirs ON theirs.id = i.piece_id").
		Where("i.copied AND theirs.piece_cid = (SELECT piece_cid FROM piece WHERE id = ?)", piece)
}

// releaseHolder ends the holding of a place by one holder, and returns the
// pieces that is about.
func releaseHolder(ctx context.Context, tx *db.Tx, place, holder string, now time.Time) ([]int64, error) {
	var rows []placeRow
	_, err := tx.NewUpdate().Model(&rows).Set("state = ?, reason = ?, updated_at = ?", placeReleased, "removed", now).
		Where("place = ? AND holder = ? AND state = ?", place, holder, placeKept).Returning("*").Exec(ctx)
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.PieceID)
	}
	return ids, fault.Wrap(err, "release the CAR at %s", place)
}

// doomedPlaces returns where a piece's CARs are that its holders want no more.
func doomedPlaces(ctx context.Context, q bun.IDB, piece int64) ([]string, error) {
	var rows []placeRow
	err := q.NewSelect().Model(&rows).Where("piece_id = ? AND state IN (?, ?)", piece, placeReleased, placeDeleting).Order("place").Scan(ctx)
	return placesIn(rows), fault.Wrap(err, "released CARs of piece %d", piece)
}

func placesIn(rows []placeRow) (all []string) {
	seen := map[string]bool{}
	for _, r := range rows {
		if !seen[r.Place] {
			seen[r.Place] = true
			all = append(all, r.Place)
		}
	}
	return all
}

// wantedElsewise reports whether a place is that of a CAR somebody imported, and
// whether a piece stands there that is not known to have been written there.
func wantedElsewise(ctx context.Context, q bun.IDB, place string) (imported, standing bool, err error) {
	theirs := q.NewSelect().TableExpr("piece_import AS i").ColumnExpr("1").Where("i.place = ? AND i.state <> ?", place, ImportFailed)
	unlisted := q.NewSelect().TableExpr("piece AS p").ColumnExpr("1").
		Where("NOT EXISTS (SELECT 1 FROM piece_place AS known WHERE known.piece_id = p.id AND known.place = ?)", place)
	if cid, kept := keptCID(place); kept {
		theirs = q.NewSelect().TableExpr("piece_import AS i").ColumnExpr("1").Join("JOIN piece AS theirs ON theirs.id = i.piece_id").
			Where("i.copied AND theirs.piece_cid = ?", cid)
		unlisted.Where("p.cached AND p.piece_cid = ?", cid)
	} else {
		unlisted.Where("p.car = ?", place)
	}
	if imported, err = theirs.Exists(ctx); err == nil {
		standing, err = unlisted.Exists(ctx)
	}
	return imported, standing, fault.Wrap(err, "who wants the CAR at %s", place)
}

// keptCID is the piece CID of a place in the blob store.
func keptCID(place string) (cid string, ok bool) {
	key, ok := strings.CutPrefix(place, inStore)
	if !ok {
		return "", false
	}
	return strings.TrimSuffix(strings.TrimPrefix(key, "piece/"), ".car"), true
}

// movePlace takes all that is held of a place from one of the states to another.
func movePlace(ctx context.Context, tx *db.Tx, place string, to placeState, now time.Time, from ...placeState) (n int64, err error) {
	res, err := tx.NewUpdate().Model((*placeRow)(nil)).Set("state = ?, updated_at = ?", to, now).
		Where("place = ? AND state IN (?)", place, bun.List(from)).Exec(ctx)
	if err != nil {
		return 0, fault.Wrap(err, "the CAR at %s is %s", place, to)
	}
	return res.RowsAffected()
}

// forgetPlace has no piece say any more that its CAR is at a place.
func forgetPlace(ctx context.Context, tx *db.Tx, place string) error {
	forget := tx.NewUpdate().Model((*pieceRow)(nil))
	if cid, kept := keptCID(place); kept {
		forget.Set("cached = FALSE").Where("piece_cid = ?", cid)
	} else {
		forget.Set("car = '', car_mtime = 0, car_at = 0, car_length = 0").Where("car = ?", place)
	}
	_, err := forget.Exec(ctx)
	return fault.Wrap(err, "forget the CAR at %s", place)
}

// standingAt returns a piece whose CAR is said to be the file at a path.
func standingAt(ctx context.Context, q bun.IDB, place string) (Piece, error) {
	return onePiece(ctx, q.NewSelect().Where("car = ?", place).Order("id DESC").Limit(1), place)
}

func pieceOfAnyProject(ctx context.Context, q bun.IDB, id int64) (Piece, error) {
	return onePiece(ctx, q.NewSelect().Where("id = ?", id), id)
}
