package indexdag_test

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/indexdag"
)

const mib = 1 << 20

// packed is a CAR in the making, laid out as packing does: leaves, then the
// nodes above them; equal blocks once; roots of parts at the end.
type packed struct {
	t    *testing.T
	car  bytes.Buffer
	seen map[cid.Cid]bool
	late []blocks.Block
	root cid.Cid // in the header until the real one is known
}

func newPacked(t *testing.T) *packed {
	p := &packed{t: t, seen: map[cid.Cid]bool{}, root: rawCid([]byte("a root to come"))}
	p.car.Write(dag.CARHeader([]cid.Cid{p.root}))
	return p
}

func (p *packed) put(b blocks.Block) error {
	if p.seen[b.Cid()] {
		return nil
	}
	p.seen[b.Cid()] = true
	p.car.Write(dag.CARSectionHeader(b.Cid(), len(b.RawData())))
	p.car.Write(b.RawData())
	return nil
}

// add packs the leaves from, to of a file and returns where they are, and the
// tops.
func (p *packed) add(data []byte, from, to int64) (indexdag.Source, []dag.Top) {
	p.t.Helper()
	prof, err := dag.ProfileNamed("")
	must(p.t, err)
	chunk := int64(prof.ChunkSize)
	b, err := dag.NewFileBuilder(prof, int64(len(data)), from, to)
	must(p.t, err)
	start := int64(p.car.Len())
	s := indexdag.Source{Offset: from * chunk, Length: min(to*chunk, int64(len(data))) - from*chunk}
	for i := from; i < to; i++ {
		part := data[i*chunk : min((i+1)*chunk, int64(len(data)))]
		leaf, err := blocks.NewBlockWithCid(part, rawCid(part))
		must(p.t, err)
		must(p.t, p.put(leaf))
		must(p.t, b.Leaf(dag.Link{Cid: leaf.Cid(), Size: int64(len(part)), TreeSize: uint64(len(part))}, p.put))
	}
	tops, err := b.Finish()
	must(p.t, err)
	s.CAR = []indexdag.Range{{Offset: start, Length: int64(p.car.Len()) - start}}
	e, err := dag.PartFile(prof, tops, func(b blocks.Block) error { p.late = append(p.late, b); return nil })
	must(p.t, err)
	s.Cid = e.Cid
	return s, tops
}

// finish gives the piece its root and name.
func (p *packed) finish(root cid.Cid) (commp.Piece, []byte) {
	for _, b := range p.late {
		must(p.t, p.put(b))
	}
	car := bytes.Replace(p.car.Bytes(), p.root.Bytes(), root.Bytes(), 1)
	return pieceOf(car), car
}

// dataset is a tree, its pieces and its index.
type dataset struct {
	t     *testing.T
	files map[string][]byte
	links map[string]string
	dirs  []string

	pieces map[string][]byte // CARs by piece CID of both versions
	names  []cid.Cid         // piece CIDs v2, that of the index last
	index  *memory
	root   cid.Cid
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bytesOf(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

// newDataset packs what there can be in a dataset into three pieces.
func newDataset(t *testing.T) *dataset {
	d := &dataset{
		t: t, files: map[string][]byte{}, links: map[string]string{"link": "../outside", "a/up": "small-001"},
		dirs: []string{"a", "empty directory", "wide"}, pieces: map[string][]byte{}, index: newMemory(),
	}
	for i := range 100 {
		d.files["a/small-"+string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})] = bytesOf(uint64(i), 10*i)
	}
	for i := range 60 {
		d.files["wide/"+strings.Repeat("x", i+1)] = bytesOf(uint64(1000+i), 5000)
	}
	d.files["big"] = bytesOf(2, 9*mib+77)
	d.files["copy of big"] = d.files["big"]
	d.files["split"] = bytesOf(3, 11*mib+1)
	d.files["empty"] = nil
	d.files["odd\xffname"] = []byte("odd")
	zeros := make([]byte, 9*mib)
	copy(zeros[5*mib:], bytesOf(4, mib))
	d.files["zeros"] = zeros
	d.pack()
	return d
}

func (d *dataset) pack() {
	prof, err := dag.ProfileNamed("")
	must(d.t, err)
	sources, cids := map[string][]indexdag.Source{}, map[string]cid.Cid{}
	made := []*packed{newPacked(d.t), newPacked(d.t), newPacked(d.t)}
	homes := map[string][]int{}
	add := func(path string, piece int, from, to int64) []dag.Top {
		s, tops := made[piece].add(d.files[path], from, to)
		sources[path], homes[path] = append(sources[path], s), append(homes[path], piece)
		cids[path] = s.Cid
		return tops
	}
	paths := slices.Sorted(maps.Keys(d.files))
	for i, path := range paths {
		data := d.files[path]
		if path == "split" {
			var all []dag.Top
			all = append(all, add(path, 0, 0, 9)...)
			all = append(all, add(path, 1, 9, 10)...)
			all = append(all, add(path, 2, 10, 12)...)
			e, err := dag.JoinFile(prof, int64(len(data)), all, made[2].put)
			must(d.t, err)
			cids[path] = e.Cid
			continue
		}
		add(path, i*3/len(paths), 0, dag.Leaves(prof, int64(len(data))))
	}
	var list []indexdag.Piece
	names := map[int]cid.Cid{}
	for i, p := range made {
		root := cids["split"]
		piece, car := p.finish(root)
		d.keep(piece, car)
		names[i] = piece.CIDv2
		list = append(list, indexdag.Piece{Cid: piece.CIDv2, Root: root, Size: int64(len(car))})
	}
	var entries []indexdag.Entry
	for _, path := range paths {
		for i := range sources[path] {
			sources[path][i].Piece = names[homes[path][i]]
		}
		entries = append(entries, indexdag.Entry{
			Path: path, Size: int64(len(d.files[path])), Cid: cids[path], Sources: sources[path],
			ModTime: time.Unix(1_600_000_000, 123456789).UTC(),
		})
	}
	for path, target := range d.links {
		entries = append(entries, indexdag.Entry{Path: path, Kind: indexdag.Symlink, Target: target, Cid: rawCid([]byte(target))})
	}
	for _, path := range d.dirs {
		entries = append(entries, indexdag.Entry{Path: path, Kind: indexdag.Dir})
	}
	d.root = write(d.t, d.index, indexdag.Header{Profile: dag.DefaultProfile}, sorted(entries), list...).Root()
	index := newPacked(d.t)
	for _, c := range d.index.order {
		b, err := blocks.NewBlockWithCid(d.index.blocks[c], c)
		must(d.t, err)
		must(d.t, index.put(b))
	}
	d.keep(index.finish(d.root))
}

func (d *dataset) keep(p commp.Piece, car []byte) {
	d.pieces[p.CIDv1.String()], d.pieces[p.CIDv2.String()] = car, car
	d.names = append(d.names, p.CIDv2)
}

// server is a place of a dataset's pieces and index blocks, with its faults.
type server struct {
	*httptest.Server
	requests atomic.Int64
}

// serve answers for a dataset; spoil may answer itself.
func (d *dataset) serve(spoil func(w http.ResponseWriter, r *http.Request, next http.Handler)) *server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /piece/{cid}", func(w http.ResponseWriter, r *http.Request) {
		car, ok := d.pieces[r.PathValue("cid")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
	})
	mux.HandleFunc("GET /ipfs/{cid}", func(w http.ResponseWriter, r *http.Request) {
		c, err := cid.Decode(r.PathValue("cid"))
		data, ok := d.index.blocks[c]
		if err != nil || !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	})
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if spoil != nil {
			spoil(w, r, mux)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	d.t.Cleanup(s.Close)
	return s
}

// store writes the pieces as a directory of CARs.
func (d *dataset) store() string {
	dir := d.t.TempDir()
	for _, c := range d.names {
		must(d.t, os.WriteFile(filepath.Join(dir, c.String()+".car"), d.pieces[c.String()], 0o600))
	}
	return dir
}

func (d *dataset) fetcher(o indexdag.FetchOptions, where ...string) (*indexdag.Fetcher, *indexdag.Reader) {
	d.t.Helper()
	var places []indexdag.Place
	for _, w := range where {
		p, err := indexdag.OpenPlace(w, nil)
		must(d.t, err)
		places = append(places, p)
	}
	f, err := indexdag.NewFetcher(places, o)
	must(d.t, err)
	r, err := indexdag.Open(context.WithoutCancel(d.t.Context()), f, d.root)
	must(d.t, err)
	return f, r
}

// sameAs holds what is in a directory to what is at a path of the dataset.
func (d *dataset) sameAs(dir, below string) {
	d.t.Helper()
	prefix := ""
	if below != "" {
		prefix = below + "/"
	}
	want := map[string]string{}
	for path, data := range d.files {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			want[rest] = string(data)
		}
	}
	for path, target := range d.links {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			want[rest] = "-> " + target
		}
	}
	for _, path := range d.dirs {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			want[rest] = "/"
		}
	}
	got := tree(d.t, dir)
	for path, what := range want {
		if got[path] != what {
			d.t.Errorf("%q is not what it was (%d bytes, were %d)", path, len(got[path]), len(what))
		}
		delete(got, path)
	}
	for path := range got {
		d.t.Errorf("%q should not be there", path)
	}
}

// tree reads a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch {
		case e.IsDir():
			out[name] = "/"
		case e.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			out[name] = "-> " + target
			return err
		default:
			data, err := os.ReadFile(path)
			out[name] = string(data)
			return err
		}
		return nil
	}))
	return out
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
