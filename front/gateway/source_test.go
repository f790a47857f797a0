package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front/gateway"
)

// anyFile is a source that does not look at what it opens.
type anyFile struct{}

type unchecked struct{ *os.File }

func (unchecked) Check() error { return nil }

func (anyFile) OpenSource(_ context.Context, s pack.Source) (pack.File, error) {
	f, err := os.Open(s.Path)
	return unchecked{f}, err
}

// fromFile adopts a piece whose CAR is a view of a file, and returns the CAR.
func (h *house) fromFile(d *db.DB, path string, body []byte) (piece.Piece, []byte) {
	h.t.Helper()
	must(h.t, os.WriteFile(path, body, 0o600))
	header := dag.CARHeader([]cid.Cid{h.root})
	car, spool := bytes.Clone(header), pack.NewSpool()
	from := ok(spool.AddSource(pack.Source{Origin: "a disk", Path: path, Size: int64(len(body))}))(h.t)
	const leaf = 1 << 20
	for at := 0; at < len(body); at += leaf {
		b := body[at:min(at+leaf, len(body))]
		r := pack.Record{Offset: int64(len(car)), From: from, Position: int64(at), Size: len(b), Digest: sha256.Sum256(b)}
		must(h.t, spool.Add(r))
		car = append(r.AppendHead(car), b...)
	}
	tree := commp.NewTree(int64(len(car)))
	must(h.t, tree.SetAt(0, car))
	index := filepath.Join(h.t.TempDir(), "index")
	f := ok(os.Create(index))(h.t)
	must(h.t, spool.WriteIndex(h.t.Context(), f, header, int64(len(car)), tree))
	must(h.t, f.Close())
	made := pack.Made{Piece: ok(tree.Piece())(h.t), Root: h.root, CARSize: int64(len(car)), Blocks: spool.Records()}
	must(h.t, h.pieces.KeepIndex(h.t.Context(), made.Piece.CIDv2.String(), index))
	var p piece.Piece
	must(h.t, d.Tx(h.t.Context(), func(ctx context.Context, tx *db.Tx) (err error) {
		p, err = h.pieces.Adopt(ctx, tx, account.DefaultProject, "test", made)
		return err
	}))
	return p, car
}

// A file that is edited while its piece is being sent ends the connection: what
// was sent is right, and it does not look whole.
func TestEditedSourceBreaksTheConnection(t *testing.T) {
	d := migrated(t, dbtest.SQLite)
	h := open(t, d, gateway.AccessPublic, piece.Settings{})
	h.pieces.ReadFrom(anyFile{})
	path := filepath.Join(t.TempDir(), "file")
	body := bytes.Repeat(h.file, 12) // more than the reader and two sockets hold
	p, car := h.fromFile(d, path, body)
	if a := h.get("/piece/"+p.CID, "Range", "bytes=1000000-2000000"); a.status != 206 || !bytes.Equal(a.body, car[1000000:2000001]) {
		t.Errorf("a range: %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	res, err := http.Get(h.url + "/piece/" + p.CIDv1 + ".car")
	must(t, err)
	defer res.Body.Close()
	first := make([]byte, 1<<20)
	ok(io.ReadFull(res.Body, first))(t)
	f := ok(os.OpenFile(path, os.O_WRONLY, 0))(t)
	ok(f.WriteAt([]byte("edited"), int64(len(body)-10)))(t)
	must(t, f.Close())
	rest, err := io.ReadAll(res.Body)
	if got := append(first, rest...); err == nil || !bytes.HasPrefix(car, got) || len(got) > len(car)-100 {
		t.Errorf("%d bytes of %d, %v", len(got), len(car), err)
	}
}
