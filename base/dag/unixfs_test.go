package dag_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ipfs/boxo/ipld/merkledag"
	mdtest "github.com/ipfs/boxo/ipld/merkledag/test"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// vectors were printed by kubo 0.42.0.
type vectors struct {
	Profiles map[string]any
	Files    []struct {
		Size   int64
		SHA256 string `json:"sha256_of_bytes"`
		CIDs   map[string]string
	}
	Trees map[string]struct {
		Files []struct {
			Path, Seed string
			Size       int64
		}
		Empty []string                     `json:"empty_directories"`
		Roots map[string]map[string]string `json:"root_cids"`
	}
}

func loadVectors(t *testing.T) vectors {
	var v vectors
	readJSON(t, "testdata/unixfs/vectors.json", &v)
	if len(v.Files) != 15 || len(v.Profiles) != 8 || len(v.Trees) != 4 {
		t.Fatalf("%d files, %d profiles, %d trees", len(v.Files), len(v.Profiles), len(v.Trees))
	}
	return v
}

// Sizes above 64 MiB take minutes and run with FIRTH_TEST_LONG=1.
func TestFileCIDsAreKubos(t *testing.T) {
	long := os.Getenv("FIRTH_TEST_LONG") == "1"
	for _, f := range loadVectors(t).Files {
		if f.Size > 64<<20 && !long {
			continue
		}
		input := func() io.Reader {
			if f.Size <= int64(len(bytesOnce())) {
				return bytes.NewReader(bytesOnce()[:f.Size])
			}
			return generate("unixfs", f.Size)
		}
		h := sha256.New()
		if _, err := io.Copy(h, input()); err != nil || hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
			t.Fatalf("%d bytes: the generator is wrong (%v)", f.Size, err)
		}
		done := map[string]string{}
		for name, want := range f.CIDs {
			prof := profile(t, name)
			if done[prof.Name] == want {
				continue
			}
			e, err := dag.AddFile(t.Context(), discard{}, input(), prof)
			if err != nil {
				t.Fatal(err)
			}
			if e.Cid.String() != want || e.Size != f.Size {
				t.Errorf("%s, %d bytes: %s of %d bytes, want %s", name, f.Size, e.Cid, e.Size, want)
			}
			done[prof.Name] = want
		}
	}
}

func TestTreeCIDsAreKubos(t *testing.T) {
	for tree, v := range loadVectors(t).Trees {
		for name, roots := range v.Roots {
			for mode, want := range roots {
				t.Run(tree+"/"+name+"/"+mode, func(t *testing.T) {
					tr := dag.NewTree(discard{}, profile(t, name))
					n := map[string]int{"tree-10000": 10000, "tree-5000": 5000}[tree]
					for _, i := range rand.Perm(n) {
						addTo(t, tr, "file-"+seq(i)+".txt", bytes.NewReader([]byte(seq(i)+"\n")))
					}
					for _, i := range rand.Perm(len(v.Files)) {
						f := v.Files[i]
						if mode == "hidden" || f.Path[0] != '.' {
							addTo(t, tr, f.Path, generate(f.Seed, f.Size))
						}
					}
					for _, dir := range v.Empty {
						if err := tr.Mkdir(dir); err != nil {
							t.Fatal(err)
						}
					}
					e, err := tr.Finish(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if e.Cid.String() != want || !e.Dir {
						t.Errorf("root %s, want %s", e.Cid, want)
					}
				})
			}
		}
	}
}

func addTo(t *testing.T, tr *dag.Tree, path string, r io.Reader) {
	t.Helper()
	if _, err := tr.AddFile(t.Context(), path, r); err != nil {
		t.Fatal(err)
	}
}

// Directories around the threshold, against the library Kubo is made of.
func TestShardingSwitchesWhereKubosDoes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"unixfs-v1-2025", "kubo", "cid-v1-raw-256KiB"} {
		prof := profile(t, name)
		prof.HAMTThreshold = 4000
		mode := uio.SizeEstimationLinks
		if prof.HAMTBlockEstimate {
			mode = uio.SizeEstimationBlock
		}
		sharded, plain := 0, 0
		for range 60 {
			ds := mdtest.Mock()
			want, err := uio.NewDirectory(ds, uio.WithSizeEstimationMode(mode),
				uio.WithCidBuilder(cid.Prefix{Version: uint64(prof.CIDVersion), Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: -1}))
			if err != nil {
				t.Fatal(err)
			}
			want.SetHAMTShardingSize(prof.HAMTThreshold)
			var entries []dag.Entry
			for i := range 60 + rnd.IntN(30) {
				n := merkledag.NewRawNode(bytes.Repeat([]byte{byte(i)}, rnd.IntN(300)))
				entry := fmt.Sprintf("%x\xff\n%d", rnd.Uint64()>>rnd.IntN(60), i)
				if err := want.AddChild(t.Context(), entry, n); err != nil {
					t.Fatal(err)
				}
				entries = append(entries, dag.Entry{Name: entry, Cid: n.Cid(), TreeSize: uint64(len(n.RawData()))})
			}
			node, err := want.GetNode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := dag.AddDirectory(t.Context(), discard{}, entries, prof)
			if err != nil {
				t.Fatal(err)
			}
			size, _ := node.Size()
			if !got.Cid.Equals(node.Cid()) || got.TreeSize != size {
				t.Fatalf("%s, %d entries: %s of %d, want %s of %d", name, len(entries), got.Cid, got.TreeSize, node.Cid(), size)
			}
			if _, isShard := want.(*uio.DynamicDirectory).Directory.(*uio.HAMTDirectory); isShard {
				sharded++
			} else {
				plain++
			}
		}
		if sharded == 0 || plain == 0 {
			t.Errorf("%s: %d sharded, %d plain: the threshold was not crossed", name, sharded, plain)
		}
	}
}

// The node of a symbolic link, assembled by hand from the UnixFS specification.
func TestSymlinkNode(t *testing.T) {
	data := []byte{0x0a, 0x05, 0x08, 0x04, 0x12, 0x01, 'a'} // Data: {Type: Symlink, Data: "a"}
	sum, err := mh.Sum(data, mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]cid.Cid{"kubo": cid.NewCidV0(sum), "": cid.NewCidV1(cid.DagProtobuf, sum)} {
		e, err := dag.AddSymlink(t.Context(), discard{}, "a", profile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if e.Cid != want || !e.Symlink || e.Target != "a" || e.Size != 1 || e.TreeSize != 7 {
			t.Errorf("profile %q: %+v, want %s", name, e, want)
		}
	}
}

// What is alive while a batch is handed over, whatever the file's size.
func TestAddFileMemory(t *testing.T) {
	alive := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, name := range []string{"unixfs-v1-2025", "kubo"} {
		before, peak := alive(), uint64(0)
		s := putFunc(func() { peak = max(peak, alive()) })
		if _, err := dag.AddFile(t.Context(), s, io.LimitReader(zeroReader{}, 100<<20), profile(t, name)); err != nil {
			t.Fatal(err)
		}
		if grown := int64(peak) - int64(before); grown > 16<<20 {
			t.Errorf("%s: %d MiB alive", name, grown>>20)
		}
	}
}

func TestAddFileBatches(t *testing.T) {
	s := newStore()
	add(t, s, bytesOnce(), profile(t, ""))
	if s.largest > 8<<20 {
		t.Errorf("a batch of %d bytes", s.largest)
	}
}

// A broken upload must never become a shorter file.
func TestAddFileReportsReadErrors(t *testing.T) {
	for _, bad := range []error{io.ErrUnexpectedEOF, errBroken} {
		for _, size := range []int64{0, 1, 5000, 1 << 20, 3<<20 + 7} {
			for _, name := range []string{"", "kubo", "trickle"} {
				r := io.MultiReader(generate("x", size), iotest.ErrReader(bad))
				if _, err := dag.AddFile(t.Context(), discard{}, r, profile(t, name)); !errors.Is(err, bad) {
					t.Errorf("%v after %d bytes, profile %q: got %v", bad, size, name, err)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dag.AddFile(ctx, discard{}, zeroReader{}, profile(t, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTreeRefuses(t *testing.T) {
	tr := dag.NewTree(discard{}, profile(t, ""))
	for _, path := range []string{"", "/", "a//b", "/a", "a/", ".", "..", "a/../b", "a/./b", "a\x00b"} {
		wantKind(t, tr.Mkdir(path), fault.Invalid)
		_, err := tr.AddFile(t.Context(), path, iotest.ErrReader(errBroken))
		wantKind(t, err, fault.Invalid)
	}
	addTo(t, tr, "a/b", generate("x", 1))
	for _, path := range []string{"a/b", "a", "a/b/c"} {
		_, err := tr.AddFile(t.Context(), path, generate("x", 1))
		wantKind(t, err, fault.Conflict)
	}
	wantKind(t, tr.Mkdir("a/b"), fault.Conflict)
	if err := tr.Mkdir("a"); err != nil {
		t.Error(err)
	}
	_, err := dag.AddDirectory(t.Context(), discard{}, make([]dag.Entry, 1), profile(t, ""))
	wantKind(t, err, fault.Invalid)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Files may come in from many goroutines at once.
func TestTreeIsConcurrent(t *testing.T) {
	var want cid.Cid
	for range 3 {
		s := newStore()
		tr := dag.NewTree(s, profile(t, "kubo"))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				path := fmt.Sprintf("%d/%d/f", i%3, i)
				if _, err := tr.AddFile(t.Context(), path, generate(path, 300000)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		e, err := tr.Finish(t.Context())
		if err != nil || (want.Defined() && e.Cid != want) {
			t.Fatalf("%s, %v, want %s", e.Cid, err, want)
		}
		want = e.Cid
		if err := dag.Complete(t.Context(), s, want); err != nil {
			t.Error(err)
		}
	}
}
