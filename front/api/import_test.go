package api_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/piece"
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

// getImport sees a copy come about: a worker reads the CAR, the node copies it.
func (j *journey) getImport(ctx context.Context) {
	j.worker = j.as(got(j.c.CreateToken(ctx, client.NewToken{Name: "commp", Scopes: []string{"commp"}}))(j.T).Secret)
	j.claim = got(j.worker.ClaimImport(ctx, "w"))(j.T)
	index := bytes.NewReader(indexOf(j.T, j.car))
	j.equal(got(j.worker.FinishImport(ctx, j.claim.ID, j.claim.Epoch, j.piece.Root, 0, index))(j.T).Committed, true)
	j.until("the import is done", func() bool {
		j.imp = got(j.c.Import(ctx, j.imp.ID))(j.T)
		return j.imp.State == "done"
	})
	j.equal(j.imp.Piece, j.piece.ID)
	j.refused(errOf(j.c.Import(ctx, 4711)), 404, client.KindNotFound)
}

func (j *journey) cancelImport(ctx context.Context) {
	im := got(j.c.ImportPiece(ctx, client.NewImport{Place: "/nowhere/at/all.car"}))(j.T)
	im = got(j.c.CancelImport(ctx, im.ID))(j.T)
	j.equal(im.State+": "+im.Reason, "failed: cancelled on request")
	j.refused(errOf(j.c.CancelImport(ctx, j.imp.ID)), 409, client.KindConflict)
	j.refused(errOf(j.c.CancelImport(ctx, 4711)), 404, client.KindNotFound)
}

func (j *journey) listImports(ctx context.Context) {
	j.equal(len(drain(j.c.Imports(ctx, client.ImportFilter{State: "done"}))(j.T)), 1)
	j.equal(len(drain(j.c.Imports(ctx, client.ImportFilter{State: "failed"}))(j.T)), 0)
}

// claimImport is what a node of role commp does, with a token that can do
// nothing else.
func (j *journey) claimImport(ctx context.Context) {
	j.refused(errOf(j.worker.ClaimImport(ctx, "w")), 404, client.KindNotFound)
	j.refused(errOf(j.worker.Import(ctx, j.imp.ID)), 403, client.KindForbidden)
	place := filepath.Join(j.TempDir(), "own.car")
	j.must(os.WriteFile(place, j.car, 0o600))
	j.imp = got(j.c.ImportPiece(ctx, client.NewImport{Place: place}))(j.T)
	j.claim = got(j.worker.ClaimImport(ctx, "w"))(j.T)
	j.equal(j.claim.ID, j.imp.ID)
	j.equal(j.claim.Size, int64(len(j.car)))
	j.refused(errOf(j.worker.ClaimImport(ctx, "w")), 404, client.KindNotFound)
}

func (j *journey) beatImport(ctx context.Context) {
	j.must(j.worker.BeatImport(ctx, j.claim.ID, client.ImportProgress{Epoch: j.claim.Epoch, DoneBytes: 5}))
	j.equal(got(j.c.Import(ctx, j.claim.ID))(j.T).DoneBytes, int64(5))
	j.refused(j.worker.BeatImport(ctx, j.claim.ID, client.ImportProgress{Epoch: j.claim.Epoch + 1}), 409, client.KindConflict)
}

func (j *journey) readImport(ctx context.Context) {
	url, header := j.worker.ImportCAR(j.claim.ID, j.claim.Epoch)
	req := got(http.NewRequestWithContext(ctx, http.MethodGet, url, nil))(j.T)
	req.Header = header
	req.Header.Set("Range", "bytes=10-99")
	res := got(http.DefaultClient.Do(req))(j.T)
	defer res.Body.Close()
	j.equal(res.StatusCode, http.StatusPartialContent)
	j.equal(string(got(io.ReadAll(res.Body))(j.T)), string(j.car[10:100]))
}

func (j *journey) keepImportPart(ctx context.Context) {
	j.refused(j.worker.KeepImportPart(ctx, j.claim.ID, j.claim.Epoch, 0, strings.NewReader("no part")), 400, client.KindInvalid)
	part := "firthpt\x01\x00\x05 and so on" // what is wrong with it shows to whom goes on from it
	j.must(j.worker.KeepImportPart(ctx, j.claim.ID, j.claim.Epoch, 0, strings.NewReader(part)))
	j.refused(j.worker.KeepImportPart(ctx, j.claim.ID, j.claim.Epoch, 2, strings.NewReader(part)), 409, client.KindConflict)
	j.refused(j.worker.KeepImportPart(ctx, j.claim.ID, j.claim.Epoch+1, 1, strings.NewReader(part)), 409, client.KindConflict)
}

func (j *journey) readImportPart(ctx context.Context) {
	part := got(j.worker.ImportPart(ctx, j.claim.ID, j.claim.Epoch, 0))(j.T)
	defer part.Close()
	j.equal(string(got(io.ReadAll(part))(j.T)), "firthpt\x01\x00\x05 and so on")
	j.refused(errOf(j.worker.ImportPart(ctx, j.claim.ID, j.claim.Epoch, 1)), 404, client.KindNotFound)
}

func (j *journey) giveUpImport(ctx context.Context) {
	j.must(j.worker.GiveUpImport(ctx, j.claim.ID, client.ImportFailure{Epoch: j.claim.Epoch, Reason: "tired"}))
	im := got(j.c.Import(ctx, j.claim.ID))(j.T)
	j.equal(im.State+": "+im.Reason, "waiting: the node itself looks, since a worker said: tired")
	j.refused(errOf(j.worker.ClaimImport(ctx, "w")), 404, client.KindNotFound) // it is the node's now
	j.until("the node has done it", func() bool { return got(j.c.Import(ctx, j.claim.ID))(j.T).State == "done" })
}

func (j *journey) finishImport(ctx context.Context) {
	j.refused(errOf(j.worker.FinishImport(ctx, j.claim.ID, j.claim.Epoch, j.piece.Root, 0, strings.NewReader("late"))), 409, client.KindConflict)
	j.imp = got(j.c.ImportPiece(ctx, client.NewImport{Place: j.imp.Place}))(j.T)
	j.claim = got(j.worker.ClaimImport(ctx, "w"))(j.T)
	im := got(j.worker.FinishImport(ctx, j.claim.ID, j.claim.Epoch, j.piece.Root, 0, bytes.NewReader(indexOf(j.T, j.car))))(j.T)
	j.equal(im.State, "done")
	j.equal(im.Piece, j.piece.ID)
}

// indexOf makes the index of a CAR.
func indexOf(t *testing.T, car []byte) []byte {
	s := pack.NewSpool()
	from := got(s.AddSource(pack.Source{Origin: piece.OriginCAR}))(t)
	r := got(dag.NewCARReader(bytes.NewReader(car), dag.CAROptions{}))(t)
	for {
		b, off, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		head := int64(len(dag.CARSectionHeader(b.Cid(), len(b.RawData()))))
		rec := got(pack.NewRecord(b.Cid(), off-head, len(b.RawData())))(t)
		rec.From, rec.Position = from, off
		if err := s.Add(rec); err != nil {
			t.Fatal(err)
		}
	}
	tree := commp.NewTree(int64(len(car)))
	if err := tree.SetAt(0, car); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.WriteIndex(t.Context(), &out, dag.CARHeader(r.Roots), int64(len(car)), tree); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
