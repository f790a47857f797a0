package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

func listOf(records ...Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestDifferences(t *testing.T) {
	packed := func(path, id string) Record { return Record{Path: path, ID: id, State: FilePacked, Size: 1} }
	scanned := func(path, id string) Record { return Record{Path: path, ID: id, Size: 1} }
	dir := Record{Path: "d", Kind: KindDirectory}
	skipped := packed("skipped", "1")
	skipped.State = FileSkipped
	link, carried := packed("link", "1"), packed("carried", "1")
	link.Kind, carried.State = KindLink, FileCarried
	moved := packed("moved", "1")
	moved.Source = 2
	old := []Record{packed("a", "1"), carried, dir, packed("edited", "1"), packed("gone", "1"), link, moved, skipped, packed("was", "1")}
	now := []Record{scanned("a", "1"), scanned("carried", "1"), dir, scanned("d/new", "1"), scanned("edited", "2"), scanned("link", "1"),
		scanned("moved", "1"), scanned("skipped", "1"), {Path: "was", Kind: KindDirectory}, scanned("z", "1")}
	want := []string{"same a", "same carried", "same d", "added d/new", "changed edited", "gone gone", "changed link", "changed moved",
		"changed skipped", "gone was", "added was", "added z"}
	var got []string
	for d, err := range Differences(listOf(old...), listOf(now...)) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Old.Path != "" && d.New.Path != "" && d.Old.Path != d.New.Path {
			t.Errorf("%q beside %q", d.Old.Path, d.New.Path)
		}
		got = append(got, d.Change.String()+" "+max(d.Old.Path, d.New.Path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Two lists of 10^5 are read once, side by side, and never held.
func TestDifferencesStream(t *testing.T) {
	const n = 100_000
	read, apart := [2]int{}, 0
	list := func(which, step int) iter.Seq2[Record, error] {
		return func(yield func(Record, error) bool) {
			for i := 0; i < n; i += step {
				read[which]++
				apart = max(apart, read[0]*2-read[1]*3, read[1]*3-read[0]*2)
				if !yield(Record{Path: fmt.Sprintf("%06d", i), State: FilePacked}, nil) {
					return
				}
			}
		}
	}
	count := map[Change]int{}
	for d, err := range Differences(list(0, 2), list(1, 3)) {
		if err != nil {
			t.Fatal(err)
		}
		count[d.Change]++
	}
	if count[Same] != 16667 || count[Gone] != 33333 || count[Added] != 16667 {
		t.Errorf("%v", count)
	}
	if read != [2]int{50000, 33334} || apart > 8 {
		t.Errorf("%d read, %d apart", read, apart)
	}
	for range Differences(list(0, 2), list(1, 3)) {
		break
	}
}

func TestMergeKeepsOrderAndErrors(t *testing.T) {
	a := listOf(Record{Path: "a"}, Record{Path: "b", Size: 1}, Record{Path: "d"})
	b := listOf(Record{Path: "b", Size: 2}, Record{Path: "c"})
	var got []string
	for r, err := range Merge(a, b) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(r.Path, r.Size))
	}
	if want := []string{"a0", "b1", "b2", "c0", "d0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	broken := func(yield func(Record, error) bool) {
		_ = yield(Record{Path: "a"}, nil) && yield(Record{}, io.ErrUnexpectedEOF)
	}
	for _, seq := range []iter.Seq2[Record, error]{Merge(b, broken), Merge(broken, b)} {
		var failed error
		for _, err := range seq {
			failed = err
		}
		if !errors.Is(failed, io.ErrUnexpectedEOF) {
			t.Errorf("a broken list became %v", failed)
		}
	}
}

// named is a catalog and its list of names.
func named(t testing.TB, records []Record) (paths, names *Catalog, p, n *counted) {
	t.Helper()
	slices.SortFunc(records, Record.Compare)
	paths, p = open(t, catalogOf(t, records))
	var b bytes.Buffer
	if err := WriteNames(t.Context(), &b, paths, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	names, n = open(t, b.Bytes())
	p.reads, p.bytes = 0, 0
	return paths, names, p, n
}

// pages asks until nothing is left.
func pages(t testing.TB, paths, names *Catalog, q Query, limit int) (found []Record) {
	t.Helper()
	after := ""
	for {
		page, next, err := Find(paths, names, q, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > limit {
			t.Fatalf("%d records in a page of %d", len(page), limit)
		}
		found = append(found, page...)
		if next == "" {
			return found
		}
		if next == after {
			t.Fatal("the cursor stands still")
		}
		after = next
	}
}

// Queries of every kind, against a plain look at every record.
func TestFindFindsWhatMatches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	taken := map[string]bool{}
	var records []Record
	letters := []string{"a", "A", "b", "B", ".", "é", "É", "\xff", "ß", "-"}
	for len(records) < 1200 {
		var parts []string
		for range 1 + rnd.IntN(3) {
			name := ""
			for range 1 + rnd.IntN(3) {
				name += letters[rnd.IntN(len(letters))]
			}
			parts = append(parts, name)
		}
		r := Record{Path: strings.Join(parts, "/"), Kind: FileKind(rnd.IntN(int(kinds))), State: FileState(rnd.IntN(int(fileStates)))}
		if taken[r.key()] || taken[r.Path] {
			continue
		}
		taken[r.key()], taken[r.Path] = true, true
		records = append(records, r)
	}
	paths, names, _, _ := named(t, records)
	lower := func(s string) string { return folded(s) }
	base := func(r Record) string { return r.Path[strings.LastIndex(r.Path, "/")+1:] }
	for _, q := range []Query{{}, {PathPrefix: "a"}, {PathPrefix: "a/"}, {PathPrefix: "A/b"}, {NamePrefix: "a"}, {NamePrefix: "é"}, {NamePrefix: "\xff"},
		{NamePrefix: "É", PathPrefix: "b"}, {Contains: "B/A"}, {Contains: "É"}, {NamePrefix: "aB", Contains: "b"}, {NamePrefix: "zz"}, {PathPrefix: "zz"},
		{States: []FileState{FileSkipped}}, {States: []FileState{FilePacked, FileCarried}, NamePrefix: "b", PathPrefix: "a", Contains: "."}} {
		var want []string
		for _, r := range records {
			if strings.HasPrefix(r.key(), q.PathPrefix) && strings.HasPrefix(lower(base(r)), lower(q.NamePrefix)) &&
				strings.Contains(lower(r.Path), lower(q.Contains)) && (q.States == nil || slices.Contains(q.States, r.State)) {
				want = append(want, r.key())
			}
		}
		for _, list := range []*Catalog{names, nil} {
			for _, limit := range []int{3, 40, 1000} {
				var got []string
				for _, r := range pages(t, paths, list, q, limit) {
					got = append(got, r.key())
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Fatalf("%+v, pages of %d: %d found, want %d", q, limit, len(got), len(want))
				}
			}
		}
	}
}

func TestFindGlobs(t *testing.T) {
	records := []Record{{Path: "a.txt"}, {Path: "d/a.txt"}, {Path: "d/e/a.txt"}, {Path: "d/[x].TXT"}, {Path: "d/\xff.txt"}, {Path: "d/é.txt"}}
	paths, _ := open(t, catalogOf(t, slices.SortedFunc(slices.Values(records), Record.Compare)))
	for glob, want := range map[string]int{"*.txt": 5, "d/*.txt": 3, "d/**": 5, "**/a.txt": 3, "d/**/a.txt": 2, "?.txt": 5, "[x].TXT": 1, "é*": 1, "a.tx": 0, "*": 6, "*/*/*": 1} {
		if got := pages(t, paths, nil, Query{Glob: glob}, 10); len(got) != want {
			t.Errorf("%s: %d found, want %d", glob, len(got), want)
		}
	}
}

// A page of a search by a prefix costs a page, whatever the catalog.
func TestFindCostsAPage(t *testing.T) {
	sizes := []int{1000, 100_000}
	if os.Getenv("FIRTH_TEST_LONG") == "1" {
		sizes = append(sizes, 1_000_000)
	}
	for _, n := range sizes {
		var records []Record
		for i := range n {
			records = append(records, numbered(t, i))
		}
		paths, names, p, list := named(t, records)
		for _, q := range []Query{{NamePrefix: "fiLE-000"}, {NamePrefix: "file-0000500.bin"}, {NamePrefix: "FILE", PathPrefix: "set-00/dir-001/"}, {PathPrefix: "set-00/dir-00"}, {}} {
			*p, *list = counted{ReaderAt: p.ReaderAt}, counted{ReaderAt: list.ReaderAt}
			found, next, err := Find(paths, names, q, "", 100)
			if err != nil || len(found) == 0 {
				t.Fatalf("%+v: %d, %v", q, len(found), err)
			}
			if reads, bytes := p.reads+list.reads, p.bytes+list.bytes; reads > 2 || bytes > 3*(blockPayload+1024) {
				t.Errorf("%d records, %+v: %d reads of %d bytes", n, q, reads, bytes)
			}
			*p, *list = counted{ReaderAt: p.ReaderAt}, counted{ReaderAt: list.ReaderAt}
			if next == "" {
				continue
			}
			if _, _, err := Find(paths, names, q, next, 100); err != nil || p.reads+list.reads > 2 {
				t.Errorf("%d records, %+v: the second page took %d reads, %v", n, q, p.reads+list.reads, err)
			}
		}
		// What matches nothing is looked at in bounded calls.
		calls, after := 0, ""
		for {
			p.bytes = 0
			found, next, err := Find(paths, names, Query{Contains: "nowhere"}, after, 100)
			if err != nil || len(found) > 0 {
				t.Fatal(found, err)
			}
			if p.bytes > maxLooked*300+2*readAhead {
				t.Errorf("one call reads %d bytes", p.bytes)
			}
			calls++
			if after = next; next == "" {
				break
			}
		}
		if calls != max(1, n/maxLooked) {
			t.Errorf("%d records: %d calls", n, calls)
		}
		t.Logf("%d records: %d blocks by path, %d by name", n, len(paths.blocks), len(names.blocks))
	}
}

func TestFindRefuses(t *testing.T) {
	paths, names, _, _ := named(t, []Record{{Path: "a"}, {Path: "b"}})
	_, byNames, err := Find(paths, names, Query{NamePrefix: "a"}, "", 1)
	if err != nil || byNames != "" {
		t.Fatal(byNames, err)
	}
	for _, c := range []struct {
		q     Query
		after string
		limit int
	}{{limit: 0}, {limit: maxFound + 1}, {limit: 1, after: "?"}, {limit: 1, after: "AA"}, {limit: 1, after: closeCursor(orders, []byte("a"))},
		{limit: 1, q: Query{Glob: "\xff"}}, {limit: 1, q: Query{Contains: strings.Repeat("a", maxQuery+1)}}} {
		_, _, err := Find(paths, names, c.q, c.after, c.limit)
		wantKind(t, err, fault.Invalid)
	}
	_, _, err = Find(paths, nil, Query{}, closeCursor(byName, []byte("a")), 1)
	wantKind(t, err, fault.Invalid)
}

// Many small runs make the list that one makes, and leave no file.
func TestNamesAreSortedInRuns(t *testing.T) {
	dir := t.TempDir()
	records := odd(t)
	for i := range 5000 {
		records = append(records, numbered(t, i*7919%5000))
	}
	slices.SortFunc(records, Record.Compare)
	paths, _ := open(t, catalogOf(t, records))
	var want bytes.Buffer
	if err := WriteNames(t.Context(), &want, paths, dir); err != nil {
		t.Fatal(err)
	}
	for _, memory := range []int{1, 1000, 50_000} {
		f, err := os.CreateTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		s := sorter{f: f, memory: memory}
		n := 0
		err = paths.scan("", func(_ []byte, at *cursor) (bool, error) {
			n++
			return memory > 1 || n <= 3000, s.add(at)
		})
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := s.merge(t.Context(), newCatalogWriter(&got, byName)); err != nil {
			t.Fatal(err)
		}
		if memory > 1 && !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d runs make another list", len(s.runs))
		}
		if memory > 1 && len(s.runs) < 20 {
			t.Errorf("%d runs", len(s.runs))
		}
		f.Close()
		os.Remove(f.Name())
	}
	names, _ := open(t, want.Bytes())
	got := all(t, names.From(""))
	for i := range records {
		for j := range records[i].Parts {
			records[i].Parts[j].Tops = nil
		}
	}
	slices.SortFunc(records, func(x, y Record) int { return strings.Compare(byName.keyOf(x), byName.keyOf(y)) })
	if !reflect.DeepEqual(got, records) || names.Counts() != paths.Counts() {
		t.Error("the list is not the catalog in order of names")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteNames(ctx, io.Discard, paths, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d files left", len(left))
	}
}

// addTo gives a record to a sorter.
func addTo(t *testing.T, s *sorter, r Record) {
	t.Helper()
	b, err := appendRecord(nil, r, nil)
	at := cursor{rest: decoder{b: b}}
	if err != nil || !at.next() {
		t.Fatal(err)
	}
	if err := s.add(&at); err != nil {
		t.Fatal(err)
	}
}

// A damaged run is an error, never an end.
func TestNamesFindADamagedRun(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := sorter{f: f, memory: 1 << 20}
	for i := range 10 {
		addTo(t, &s, numbered(t, i))
	}
	if err := s.spill(); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil || f.Truncate(info.Size()-5) != nil {
		t.Fatal(err)
	}
	wantKind(t, s.merge(t.Context(), newCatalogWriter(io.Discard, byName)), fault.Internal)
}

// Sorting holds what it may, whatever comes.
func TestNamesMemory(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := sorter{f: f, memory: 1 << 20}
	for i := range 30_000 {
		addTo(t, &s, numbered(t, i))
		if held := len(s.entries) + startBytes*len(s.starts); held > s.memory {
			t.Fatalf("%d bytes held", held)
		}
	}
	if len(s.runs) < 5 {
		t.Errorf("%d runs", len(s.runs))
	}
}

func BenchmarkFind(b *testing.B) {
	var records []Record
	for i := range maxLooked {
		records = append(records, numbered(b, i))
	}
	paths, names, _, _ := named(b, records)
	for name, q := range map[string]Query{"prefix": {NamePrefix: "file-00123"}, "contains": {Contains: "nowhere"}, "glob": {Glob: "nowhere*"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Find(paths, names, q, "", 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
