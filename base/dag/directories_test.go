package dag_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// listed is a tree in the order a DirectoryWriter takes it; a key that ends
// with a slash is a directory.
type listed map[string]dag.Entry

func (l listed) keys() []string {
	var out []string
	for key := range l {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func (l listed) writer(t testing.TB, prof dag.Profile) cid.Cid {
	t.Helper()
	w := dag.NewDirectoryWriter(prof, func(blocks.Block) error { return nil })
	for _, key := range l.keys() {
		var err error
		if dir, ok := strings.CutSuffix(key, "/"); ok {
			err = w.Mkdir(dir)
		} else {
			err = w.Add(key, l[key])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Finish()
	if err != nil || !e.Dir {
		t.Fatal(e, err)
	}
	return e.Cid
}

func (l listed) tree(t testing.TB, prof dag.Profile, s dag.Putter) cid.Cid {
	t.Helper()
	tr := dag.NewTree(s, prof)
	for key, e := range l {
		var err error
		if dir, ok := strings.CutSuffix(key, "/"); ok {
			err = tr.Mkdir(dir)
		} else {
			err = tr.AddEntry(key, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := tr.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.Cid
}

func TestDirectoriesHaveKubosCIDs(t *testing.T) {
	for tree, v := range loadVectors(t).Trees {
		for _, name := range []string{"unixfs-v1-2025", "cid-v1-raw-256KiB"} {
			for mode, want := range v.Roots[name] {
				prof, l := profile(t, name), listed{}
				put := func(path string, data []byte) { l[path] = add(t, discard{}, data, prof) }
				for i := range map[string]int{"tree-10000": 10000, "tree-5000": 5000}[tree] {
					put("file-"+seq(i)+".txt", []byte(seq(i)+"\n"))
				}
				for _, f := range v.Files {
					if mode == "hidden" || f.Path[0] != '.' {
						var b bytes.Buffer
						if _, err := b.ReadFrom(generate(f.Seed, f.Size)); err != nil {
							t.Fatal(err)
						}
						put(f.Path, b.Bytes())
					}
				}
				for _, dir := range v.Empty {
					l[dir+"/"] = dag.Entry{}
				}
				if got := l.writer(t, prof); got.String() != want {
					t.Errorf("%s, %s, %s: root %s, want %s", tree, name, mode, got, want)
				}
			}
		}
	}
}

// Trees of few letters, among them the bytes around the slash.
func TestDirectoriesMakeTheTree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 1))
	prof := profile(t, "")
	prof.HAMTThreshold = 600
	leaf := leaves(t, []byte("leaf"), prof)[0]
	letters := []string{"a", "b", "!", ".", "-", "0", "\xff", "é"}
	for round := range 150 {
		l, taken := listed{}, map[string]byte{}
		for range rnd.IntN(120) {
			var names []string
			for range 1 + rnd.IntN(4) {
				name := "n"
				for range rnd.IntN(4) {
					name += letters[rnd.IntN(len(letters))]
				}
				names = append(names, name)
			}
			path, free := strings.Join(names, "/"), true
			for i := range names[1:] {
				free = free && taken[strings.Join(names[:i+1], "/")] != 'f'
			}
			dir := rnd.IntN(4) == 0
			if !free || taken[path] == 'f' || taken[path] == 'd' && !dir {
				continue
			}
			for i := range names[1:] {
				taken[strings.Join(names[:i+1], "/")] = 'd'
			}
			if taken[path] = 'f'; dir {
				taken[path] = 'd'
				path += "/"
			}
			l[path] = dag.Entry{Cid: leaf.Cid, TreeSize: rnd.Uint64() >> (16 + rnd.IntN(48))}
		}
		if got, want := l.writer(t, prof), l.tree(t, prof, discard{}); got != want {
			t.Fatalf("round %d, %q: %s, want %s", round, l.keys(), got, want)
		}
	}
}

// A directory is handed over as soon as something behind it comes.
func TestDirectoriesComeEarly(t *testing.T) {
	prof, made := profile(t, ""), 0
	leaf := leaves(t, nil, prof)[0]
	w := dag.NewDirectoryWriter(prof, func(blocks.Block) error { made++; return nil })
	for i := range 100 {
		for j := range 3 {
			if err := w.Add(fmt.Sprintf("d%03d/e/%d-%d", i, i, j), dag.Entry{Cid: leaf.Cid}); err != nil {
				t.Fatal(err)
			}
		}
		if made != 2*i {
			t.Fatalf("%d directories made before the end of number %d", made, i)
		}
	}
	if _, err := w.Finish(); err != nil || made != 201 {
		t.Errorf("%d made, %v", made, err)
	}
	_, err := w.Finish()
	wantKind(t, err, fault.Invalid)
	wantKind(t, w.Mkdir("z"), fault.Invalid)
}

func TestDirectoriesRefuse(t *testing.T) {
	prof := profile(t, "")
	leaf := leaves(t, nil, prof)[0]
	file, dir := dag.Entry{Cid: leaf.Cid}, dag.Entry{Cid: leaf.Cid, Dir: true}
	type step struct {
		path string
		e    *dag.Entry // nil is Mkdir
	}
	for name, c := range map[string]struct {
		before []step
		last   step
		kind   fault.Kind
		names  []string
	}{
		"out of order":           {[]step{{"b/x", &file}}, step{"a", &file}, fault.Invalid, []string{`"a"`, `"b/x"`}},
		"a directory sorts high": {[]step{{"a/x", &file}}, step{"a.txt", &file}, fault.Invalid, []string{`"a.txt"`, `"a/x"`}},
		"twice":                  {[]step{{"a", &file}}, step{"a", &file}, fault.Conflict, []string{`"a"`}},
		"directory twice":        {[]step{{"a", nil}}, step{"a", nil}, fault.Conflict, []string{`"a"`}},
		"directory late":         {[]step{{"a/b/c", &file}}, step{"a/b", nil}, fault.Conflict, []string{`"a/b"`}},
		"below a file":           {[]step{{"a", &file}, {"a!", &file}}, step{"a/b", &file}, fault.Conflict, []string{`"a/b"`, `"a"`}},
		"directory on a file":    {[]step{{"d/a", &file}, {"d/a.b", &file}}, step{"d/a", nil}, fault.Conflict, []string{`"d/a"`}},
		"whole one on a file":    {[]step{{"a", &file}, {"a.b", &file}}, step{"a", &dir}, fault.Conflict, []string{`"a"`}},
		"file on a directory":    {[]step{{"a/b", &file}}, step{"a", &file}, fault.Conflict, []string{`"a"`}},
		"below a whole one":      {[]step{{"a", &dir}}, step{"a/b", &file}, fault.Conflict, []string{`"a/b"`}},
		"no CID":                 {nil, step{"a", &dag.Entry{}}, fault.Invalid, []string{`"a"`}},
		"no name":                {nil, step{"a//b", &file}, fault.Invalid, []string{`"a//b"`}},
	} {
		w := dag.NewDirectoryWriter(prof, func(blocks.Block) error { return nil })
		do := func(s step) error {
			if s.e == nil {
				return w.Mkdir(s.path)
			}
			return w.Add(s.path, *s.e)
		}
		for _, s := range c.before {
			if err := do(s); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		err := do(c.last)
		if !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
			continue
		}
		for _, n := range c.names {
			if !strings.Contains(err.Error(), n) {
				t.Errorf("%s: %v does not name %s", name, err, n)
			}
		}
	}
	w := dag.NewDirectoryWriter(prof, func(blocks.Block) error { return errBroken })
	if _, err := w.Finish(); !strings.Contains(fmt.Sprint(err), errBroken.Error()) {
		t.Errorf("emit's error became %v", err)
	}
}

// What an open directory costs, sharding included.
func TestDirectoriesMemory(t *testing.T) {
	const entries = 100_000
	prof := profile(t, "")
	leaf := leaves(t, nil, prof)[0]
	alive := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak, nodes := alive(), uint64(0), 0
	w := dag.NewDirectoryWriter(prof, func(blocks.Block) error {
		if nodes++; nodes%200 == 1 {
			peak = max(peak, alive())
		}
		return nil
	})
	for i := range entries {
		if err := w.Add(fmt.Sprintf("file-%012d.dat", i), dag.Entry{Cid: leaf.Cid, TreeSize: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	peak = max(peak, alive())
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if each := (int64(peak) - int64(before)) / entries; each > 110 {
		t.Errorf("%d bytes an entry", each)
	} else {
		t.Logf("%d bytes an entry, %d nodes", each, nodes)
	}
}
