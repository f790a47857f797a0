package api_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/firth-project/firth/client"
)

// importPiece has a copy of the journey's piece in a file become a piece: it is
// the same one.
func (j *journey) importPiece(ctx context.Context) {
	r := got(j.s.Pieces.Open(ctx, j.piece.PieceCID))(j.T)
	defer r.Close()
	j.car = got(io.ReadAll(r))(j.T)
	place := filepath.Join(j.TempDir(), j.piece.PieceCIDv1+".car")
	j.must(os.WriteFile(place, j.car, 0o600))
	j.imp = got(j.c.ImportPiece(ctx, client.NewImport{Place: place, Copy: true, Root: j.piece.Root}))(j.T)
	j.equal(j.imp.PieceCID, j.piece.PieceCIDv1)
	writer := got(j.c.CreateToken(ctx, client.NewToken{Name: "writer", Scopes: []string{"content:write", "content:read"}}))(j.T)
	j.refused(errOf(j.as(writer.Secret).ImportPiece(ctx, client.NewImport{Place: place})), 403, client.KindForbidden)
	j.refused(errOf(j.as(writer.Secret).VerifyPieceCopy(ctx, j.piece.PieceCID, place)), 403, client.KindForbidden)
	j.refused(errOf(j.c.ImportPiece(ctx, client.NewImport{Place: "relative.car"})), 400, client.KindInvalid)
	bad := bytes.Clone(j.car)
	bad[len(bad)-1]++
	j.must(os.WriteFile(place+".bad", bad, 0o600))
	j.equal(len(got(j.c.VerifyPieceCopy(ctx, j.piece.PieceCID, place+".bad"))(j.T).Damaged), 1)
}

func (j *journey) getImport(ctx context.Context) {
	j.until("the import is done", func() bool {
		j.imp = got(j.c.Import(ctx, j.imp.ID))(j.T)
		return j.imp.State == "done"
	})
	j.equal(j.imp.Piece, j.piece.ID)
	j.refused(errOf(j.c.Import(ctx, 4711)), 404, client.KindNotFound)
}

func (j *journey) listImports(ctx context.Context) {
	j.equal(len(drain(j.c.Imports(ctx, client.ImportFilter{State: "done"}))(j.T)), 1)
	j.equal(len(drain(j.c.Imports(ctx, client.ImportFilter{State: "failed"}))(j.T)), 0)
}
