package piece_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// car lays blocks out behind a header.
func carOf(roots []cid.Cid, bs ...blocks.Block) []byte {
	b := dag.CARHeader(roots)
	for _, one := range bs {
		b = append(append(b, dag.CARSectionHeader(one.Cid(), len(one.RawData()))...), one.RawData()...)
	}
	return b
}

// own is a CAR of n raw blocks of a size, its last one the root.
func own(n, size int) ([]byte, []blocks.Block) {
	var bs []blocks.Block
	for i := range n {
		data := noise(uint64(i), size)
		b, err := blocks.NewBlockWithCid(data, rawCID(data))
		if err != nil {
			panic(err) // only a CID of no bytes can do that
		}
		bs = append(bs, b)
	}
	return carOf([]cid.Cid{bs[n-1].Cid()}, bs...), bs
}

func rawCID(data []byte) cid.Cid {
	sum := sha256.Sum256(data)
	return cid.NewCidV1(cid.Raw, append([]byte{mh.SHA2_256, 32}, sum[:]...))
}

// v2 wraps a CAR with padding before and an index behind.
func v2(car []byte) []byte {
	b := append([]byte("\x0a\xa1\x67version\x02"), make([]byte, 16)...)
	for _, n := range []int{51 + 9, len(car), 51 + 9 + len(car)} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = append(append(b, make([]byte, 9)...), car...)
	return append(b, "\x81\x08an index"...)
}

func commitment(t *testing.T, car []byte) commp.Piece {
	w := commp.New()
	_ = ok(w.Write(car))(t)
	return ok(w.Sum())(t)
}

func put(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, b, 0o600))
	return path
}

// imported waits until an import is over.
func (h *house) imported(n piece.NewImport) piece.Import {
	h.t.Helper()
	im := ok(h.pieces.Import(h.t.Context(), project, n))(h.t)
	until(h.t, func() bool {
		im = ok(h.pieces.ImportByID(h.t.Context(), project, im.ID))(h.t)
		return im.State == piece.ImportDone || im.State == piece.ImportFailed
	})
	return im
}

func (h *house) pieceOf(im piece.Import) piece.Piece {
	h.t.Helper()
	if im.State != piece.ImportDone {
		h.t.Fatalf("import %d is %s: %s", im.ID, im.State, im.Reason)
	}
	for _, p := range ok(h.pieces.List(h.t.Context(), project, piece.Filter{}))(h.t) {
		if p.ID == im.Piece {
			return p
		}
	}
	h.t.Fatalf("import %d is done, piece %d is not there", im.ID, im.Piece)
	return piece.Piece{}
}

func TestImport(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		defer h.run()()
		car, bs := own(40, 60_000)
		want := commitment(t, car)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
		}))
		defer web.Close()
		h.pieces.ConnectBy(web.Client())
		for name, n := range map[string]piece.NewImport{
			"in place": {Place: put(t, "x.car", car)},
			"named":    {Place: put(t, want.CIDv2.String()+".car", car)},
			"named v1": {Place: put(t, want.CIDv1.String()+".car", car), Root: bs[3].Cid().String()},
			"copied":   {Place: put(t, "y.car", car), Copy: true},
			"CARv2":    {Place: put(t, "z.car", v2(car)), PieceCID: want.CIDv1.String()},
			"v2, copy": {Place: put(t, "w.car", v2(car)), Copy: true},
			"URL":      {Place: web.URL + "/some.car"},
		} {
			t.Run(name, func(t *testing.T) {
				one := *h
				one.t = t
				p := one.pieceOf(one.imported(n))
				if p.CID != want.CIDv2.String() || p.CIDv1 != want.CIDv1.String() || p.CARSize != int64(len(car)) || p.Blocks != 40 {
					t.Errorf("%+v", p)
				}
				if got := one.car(p); !bytes.Equal(got, car) {
					t.Error("other bytes by the index")
				}
				if f, kept := h.pieces.OpenCached(p); kept {
					defer f.Close()
					if got := ok(os.ReadFile(f.Name()))(t); !bytes.Equal(got, car) {
						t.Error("other bytes by the file")
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
		if left := ok(h.pieces.Imports(t.Context(), project, piece.ImportFilter{State: piece.ImportDone, Limit: 3}))(t); len(left) != 3 {
			t.Errorf("%d on a page of 3", len(left))
		}
	})
}

// Blocks that stand in their CIDs have sections in CARs of some tools.
func TestImportIdentity(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	defer h.run()()
	_, bs := own(2, 1000)
	inline := func(codec uint64, text string) blocks.Block {
		sum := ok(mh.Sum([]byte(text), mh.IDENTITY, -1))(t)
		return ok(blocks.NewBlockWithCid([]byte(text), cid.NewCidV1(codec, sum)))(t)
	}
	all := []blocks.Block{inline(cid.Raw, "hi"), inline(cid.Raw, ""), bs[0], inline(cid.DagCBOR, "\xa0"), inline(cid.Raw, strings.Repeat("x", 32))}
	for name, roots := range map[string][]cid.Cid{"one of them is the root": {all[0].Cid()}, "the root is found": nil} {
		car := carOf(roots, all...)
		p := h.pieceOf(h.imported(piece.NewImport{Place: put(t, "x.car", car)}))
		want := all[2]
		if roots != nil {
			want = all[0]
		}
		if p.Root != want.Cid().String() || p.Blocks != int64(len(all)) || !bytes.Equal(h.car(p), car) {
			t.Errorf("%s: %+v", name, p)
		}
		if _, bad, err := h.pieces.Verify(t.Context(), project, p.CID, nil); err != nil || len(bad) != 0 {
			t.Errorf("%s: %v, %v", name, bad, err)
		}
		for _, b := range all {
			if off, size := offsets(t, h, p, b.Cid()); !bytes.Equal(car[off:off+size], b.RawData()) {
				t.Errorf("%s: %s is somewhere else", name, b.Cid())
			}
		}
	}
}

func offsets(t *testing.T, h *house, p piece.Piece, c cid.Cid) (off, n int64) {
	off, n, err := h.pieces.Locate(t.Context(), p.CID, c)
	must(t, err)
	return off, n
}

// What cannot become a piece says why.
func TestImportRefuses(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{MaxPadded: 4 << 20}, nil)
	defer h.run()()
	car, bs := own(3, 1000)
	other := commitment(t, []byte("other"))
	flipped := bytes.Clone(car)
	flipped[len(flipped)-1]++
	damaged := filled(car, 4096)
	damaged[4060] = 1
	data := []byte("too long to stand in the name of a block")
	inline := ok(blocks.NewBlockWithCid(data, cid.NewCidV1(cid.Raw, ok(mh.Sum(data, mh.IDENTITY, -1))(t))))(t)
	sha512 := ok(blocks.NewBlockWithCid(data, cid.NewCidV1(cid.Raw, ok(mh.Sum(data, mh.SHA2_512, -1))(t))))(t)
	large, _ := own(5, 1<<20)
	for name, c := range map[string]struct {
		car    []byte
		n      piece.NewImport
		reason string
	}{
		"another piece":    {car, piece.NewImport{PieceCID: other.CIDv2.String()}, other.CIDv2.String() + " was given, the CAR is piece " + commitment(t, car).CIDv2.String()},
		"another root":     {car, piece.NewImport{Root: inline.Cid().String()}, inline.Cid().String() + " was given, the CAR has root " + bs[2].Cid().String()},
		"damaged block":    {flipped, piece.NewImport{}, "section 3 at byte"},
		"cut short":        {car[:len(car)-1], piece.NewImport{}, "truncated"},
		"zeros behind":     {append(bytes.Clone(car), 0, 0), piece.NewImport{}, "blocks, which end at byte"},
		"zeros, cut off":   {filled(car, 4096)[:4000], piece.NewImport{}, "blocks, which end at byte"},
		"damaged padding":  {damaged, piece.NewImport{}, "other bytes the zeros at byte 4060"},
		"garbage behind":   {append(bytes.Clone(car), 0xff, 0xff, 0xff), piece.NewImport{}, "truncated"},
		"identity CID":     {carOf([]cid.Cid{bs[0].Cid()}, bs[0], inline), piece.NewImport{}, "identity CIDs of at most 32 bytes"},
		"wrong identity":   {append(bytes.Clone(car), 8, 1, 0x55, 0, 2, 'h', 'i', 'h', 'o'), piece.NewImport{}, "CAR section 4"},
		"short identity":   {append(bytes.Clone(car), 7, 1, 0x55, 0, 2, 'h', 'i', 'h'), piece.NewImport{}, "has 1 bytes, its identity CID 2"},
		"another hash":     {carOf([]cid.Cid{bs[0].Cid()}, bs[0], sha512), piece.NewImport{}, "named by SHA2-256, BLAKE2b-256 or BLAKE3, and"},
		"two tops":         {carOf(nil, bs...), piece.NewImport{}, "say which it is with --root"},
		"no blocks":        {carOf(nil), piece.NewImport{}, "holds no block"},
		"only a header":    {carOf([]cid.Cid{bs[0].Cid()}), piece.NewImport{}, "holds no block"},
		"compressed":       {[]byte("\x1f\x8b\x08 and so on and on"), piece.NewImport{}, "a gzip file; decompress it first"},
		"a page":           {[]byte("<html>Please log in</html>"), piece.NewImport{}, "HTML"},
		"zeros":            {make([]byte, 1000), piece.NewImport{}, "begins like zeros"},
		"empty":            {nil, piece.NewImport{}, "empty"},
		"no CAR":           {[]byte("hello world, this is no CAR"), piece.NewImport{}, "this is no CAR, it begins like a text"},
		"CARv2 cut short":  {v2(car)[:len(car)], piece.NewImport{}, "60 bytes of its data are missing"},
		"too many roots":   {carOf(slices.Repeat([]cid.Cid{bs[0].Cid()}, 200), bs...), piece.NewImport{}, "about a hundred roots"},
		"too large":        {large, piece.NewImport{}, "piece.max_size"},
		"CARv2 in a CARv2": {v2(v2(car)), piece.NewImport{}, "CARv2 inside a CARv2"},
	} {
		t.Run(name, func(t *testing.T) {
			one := *h
			one.t = t
			c.n.Place = put(t, "x.car", c.car)
			for _, copied := range []bool{false, true} {
				c.n.Copy = copied
				if im := one.imported(c.n); im.State != piece.ImportFailed || !strings.Contains(im.Reason, c.reason) {
					t.Errorf("%s: %s", im.State, im.Reason)
				}
			}
		})
	}
	if im := h.imported(piece.NewImport{Place: filepath.Join(t.TempDir(), "absent.car")}); im.State != piece.ImportFailed || im.FaultKind != "not_found" || !strings.Contains(im.Reason, "no such file") {
		t.Errorf("%+v", im)
	}
	loop := filepath.Join(t.TempDir(), "loop.car")
	must(t, os.Symlink("loop.car", loop))
	if im := h.imported(piece.NewImport{Place: loop}); im.State != piece.ImportFailed || im.FaultKind != "invalid" || im.Attempts != 1 {
		t.Errorf("%+v", im)
	}
	if im := h.imported(piece.NewImport{Place: t.TempDir()}); !strings.Contains(im.Reason, "is a directory") || im.FaultKind != "invalid" {
		t.Errorf("%+v", im)
	}
	for _, n := range []piece.NewImport{{Place: "x.car"}, {Place: "ftp://x/y"}, {Place: "/x\x00y"}, {Place: "http://x/\x00"}, {Place: "/x", PieceCID: "y"}, {Place: "/x", Root: "y"}} {
		if _, err := h.pieces.Import(t.Context(), project, n); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	im := ok(h.pieces.Import(t.Context(), project, piece.NewImport{Place: "/nowhere//a/../b.car"}))(t)
	if im.Place != "/nowhere/b.car" {
		t.Errorf("the place is %s", im.Place)
	}
	for info, err := range h.blobs.List(t.Context(), "piece/", "") {
		t.Errorf("left behind: %s, %v", info.Key, err)
	}
}

// An import says whether its piece was there before, and when the piece's root is
// not in it: the CAR may be cut off between two blocks, or a part of more.
func TestImportSaysWhatCameOfIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		defer h.run()()
		car, bs := own(3, 1000)
		part := carOf([]cid.Cid{bs[2].Cid()}, bs[:2]...)
		for _, c := range []struct {
			car   []byte
			copy  bool
			known bool
			note  string
		}{{car, false, false, ""}, {car, true, true, ""}, {part, false, false, bs[2].Cid().String() + " is not among its blocks"}, {part, false, true, "not among"}} {
			im := h.imported(piece.NewImport{Place: put(t, "x.car", c.car), Copy: c.copy})
			if im.State != piece.ImportDone || im.Known != c.known || !strings.Contains(im.Note, c.note) || (c.note == "") != (im.Note == "") || im.FaultKind != "" {
				t.Errorf("%+v", im)
			}
		}
	})
}

// A CAR without a root is about the one block nothing links to.
func TestImportFindsTheRoot(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	defer h.run()()
	root := h.tree(map[string][]byte{"a": noise(1, 50_000), "b/c": noise(2, 70_000)})
	var bs []blocks.Block
	must(t, dag.NewWalker(h.blocks).Walk(t.Context(), root, func(c cid.Cid, data []byte) error {
		bs = append(bs, ok(blocks.NewBlockWithCid(bytes.Clone(data), c))(t))
		return nil
	}))
	bs = append(bs, bs[1]) // a block may come twice
	p := h.pieceOf(h.imported(piece.NewImport{Place: put(t, "x.car", carOf(nil, bs...))}))
	if p.Root != root.String() || p.Blocks != int64(len(bs)) {
		t.Errorf("%+v, want root %s", p, root)
	}
	roots := []cid.Cid{bs[2].Cid(), root}
	p = h.pieceOf(h.imported(piece.NewImport{Place: put(t, "y.car", carOf(roots, bs...))}))
	if p.Root != bs[2].Cid().String() {
		t.Errorf("of two roots: %s", p.Root)
	}
}

// chain is n blocks as those of Filecoin's chain: DAG-CBOR named by BLAKE2b-256,
// each a list of a link to the one before and of some bytes.
func chain(t *testing.T, n int) (bs []blocks.Block) {
	form := cid.Prefix{Version: 1, Codec: cid.DagCBOR, MhType: mh.BLAKE2B_MIN + 31, MhLength: 32}
	for i := range n {
		data := []byte{0x82, 0xf6} // a list of two, the first null
		if i > 0 {
			link := append([]byte{0}, bs[i-1].Cid().Bytes()...)
			data = append([]byte{0x82, 0xd8, 42, 0x58, byte(len(link))}, link...)
		}
		data = append(append(data, 0x59, 0x02, 0x58), noise(uint64(i), 600)...)
		bs = append(bs, ok(blocks.NewBlockWithCid(data, ok(form.Sum(data))(t)))(t))
	}
	return bs
}

// A snapshot of a chain stands in place, too, and so does one of mixed hashes.
func TestImportOfAChain(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	defer h.run()()
	bs := chain(t, 3000)
	_, plain := own(50, 20_000)
	for i, b := range plain {
		c := ok(cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh.BLAKE3, MhLength: 32}.Sum(b.RawData()))(t)
		plain[i] = []blocks.Block{b, ok(blocks.NewBlockWithCid(b.RawData(), c))(t)}[i%2]
	}
	top := bs[len(bs)-1].Cid()
	for name, car := range map[string][]byte{
		"heads":   carOf([]cid.Cid{top, bs[len(bs)-2].Cid()}, bs...),
		"no root": carOf(nil, bs...),
		"mixed":   carOf([]cid.Cid{top}, append(plain, bs...)...),
	} {
		t.Run(name, func(t *testing.T) {
			one := *h
			one.t = t
			path := put(t, "x.car", car)
			p := one.pieceOf(one.imported(piece.NewImport{Place: path}))
			if p.Root != top.String() || p.CID != commitment(t, car).CIDv2.String() {
				t.Errorf("%+v", p)
			}
			if got := one.car(p); !bytes.Equal(got, car) {
				t.Error("other bytes by the index")
			}
			off, size := offsets(t, h, p, bs[7].Cid())
			if !bytes.Equal(car[off:off+size], bs[7].RawData()) {
				t.Error("a block is somewhere else")
			}
			if _, _, err := h.pieces.Locate(t.Context(), p.CID, rawCID(bs[7].RawData())); !fault.Is(err, fault.NotFound) {
				t.Errorf("a block under a hash it was not packed by: %v", err)
			}
			bad := bytes.Clone(car)
			bad[off+size-1]++
			if im := one.imported(piece.NewImport{Place: put(t, "bad.car", bad)}); im.State != piece.ImportFailed || !strings.Contains(im.Reason, "digest") {
				t.Errorf("%+v", im)
			}
		})
	}
}

// A copy somewhere else is compared with what was packed.
func TestVerifyCopy(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	defer h.run()()
	car, bs := own(40, 60_000)
	p := h.pieceOf(h.imported(piece.NewImport{Place: put(t, "x.car", car), Copy: true}))
	bad := append(bytes.Clone(car), 0, 0, 0)
	bad[1_000_000]++
	short := car[:len(car)-10]
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(map[string][]byte{"/bad": bad, "/short": short, "/good": car}[r.URL.Path]))
	}))
	defer web.Close()
	h.pieces.ConnectBy(web.Client())
	for _, from := range []string{web.URL + "/good", put(t, "good", car)} {
		if _, damaged, err := h.pieces.VerifyCopy(t.Context(), project, p.CIDv1, from, nil); err != nil || len(damaged) != 0 {
			t.Errorf("%+v, %v", damaged, err)
		}
	}
	for _, from := range []string{web.URL + "/bad", put(t, "bad", bad)} {
		_, damaged, err := h.pieces.VerifyCopy(t.Context(), project, p.CID, from, nil)
		if err != nil || len(damaged) != 1 || damaged[0].Offset != 1_000_000/commp.SlotRaw*commp.SlotRaw || damaged[0].Length != commp.SlotRaw {
			t.Fatalf("%+v, %v", damaged, err)
		}
		if !slices.Contains(damaged[0].Blocks, bs[1_000_000/60_040].Cid()) {
			t.Errorf("blocks %v", damaged[0].Blocks)
		}
	}
	for _, from := range []string{web.URL + "/short", put(t, "short", short)} {
		if _, damaged, err := h.pieces.VerifyCopy(t.Context(), project, p.CID, from, nil); err != nil || len(damaged) != 1 || !strings.Contains(damaged[0].Reason, "cut short") {
			t.Errorf("%+v, %v", damaged, err)
		}
	}
	for from, kind := range map[string]fault.Kind{"x": fault.Invalid, "/absent/x": fault.NotFound, t.TempDir(): fault.Invalid} {
		if _, _, err := h.pieces.VerifyCopy(t.Context(), project, p.CID, from, nil); !fault.Is(err, kind) {
			t.Errorf("%s: %v", from, err)
		}
	}
}
