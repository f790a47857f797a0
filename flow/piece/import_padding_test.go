package piece_test

import (
	"bytes"
	"testing"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/flow/piece"
)

// filled is a CAR as providers keep it: with zeros up to the size of a piece.
func filled(car []byte, padded uint64) []byte {
	return append(bytes.Clone(car), make([]byte, int(commp.MaxRawSize(padded))-len(car))...)
}

// A piece that comes from a provider, zeros and all, is the piece it is: what
// was padded to more than it needs, too. The zeros are no part of its CAR.
func TestImportPadded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{MaxPadded: 16 << 20}, nil)
		defer h.run()()
		car, bs := own(40, 60_000)
		natural := commitment(t, car)
		w := commp.New()
		_ = ok(w.Write(car))(t)
		larger := ok(w.SumPadded(4 * natural.PaddedSize))(t)
		for name, c := range map[string]struct {
			file []byte
			n    piece.NewImport
			want commp.Piece
		}{
			"natural": {filled(car, natural.PaddedSize), piece.NewImport{}, natural},
			"larger":  {filled(car, larger.PaddedSize), piece.NewImport{}, larger},
			"copied":  {filled(car, larger.PaddedSize), piece.NewImport{Copy: true}, larger},
			"named":   {filled(car, larger.PaddedSize), piece.NewImport{PieceCID: natural.CIDv1.String()}, natural},
		} {
			t.Run(name, func(t *testing.T) {
				one := *h
				one.t = t
				c.n.Place = put(t, "x.car", c.file)
				p := one.pieceOf(one.imported(c.n))
				if p.CID != c.want.CIDv2.String() || p.CARSize != int64(len(car)) || p.Blocks != 40 {
					t.Errorf("%+v, want %v", p, c.want)
				}
				if c.n.PieceCID == "" && p.CIDv1 != commitment(t, c.file).CIDv1.String() {
					t.Errorf("%s is not the commitment of the file", p.CIDv1)
				}
				if got := one.car(p); !bytes.Equal(got, car) {
					t.Errorf("%d bytes are served, the CAR has %d", len(got), len(car))
				}
				if f, kept := h.pieces.OpenCached(p); kept {
					info := ok(f.Stat())(t)
					_ = f.Close()
					if info.Size() != p.CARSize {
						t.Errorf("a file of %d bytes stands for a CAR of %d", info.Size(), p.CARSize)
					}
				}
				if _, bad, err := h.pieces.Verify(t.Context(), project, p.CID, nil); err != nil || len(bad) != 0 {
					t.Errorf("%v, %v", bad, err)
				}
				off, size := offsets(t, h, p, bs[7].Cid())
				if !bytes.Equal(car[off:off+size], bs[7].RawData()) {
					t.Error("a block is somewhere else")
				}
			})
		}
	})
}
