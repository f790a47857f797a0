package piece_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// small makes pieces of at most 256 KiB.
var small = piece.Settings{MaxPadded: 256 << 10}

func opened(t *testing.T, open dbtest.Open) *db.DB {
	return migrated(t, func(t *testing.T) *db.DB { return open(t, event.Migrations, piece.Migrations()) })
}

func TestPlanBecomesAPiece(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), piece.Settings{}, nil)
		h.run()
		tree := h.tree(map[string][]byte{"a/b/c": noise(1, 50_000), "a/d": noise(2, 10), "e": nil, "same": noise(2, 10)})
		file := h.file(3, 200_000)
		plan := h.submit(project, file, piece.Root{CID: tree.String(), Name: "tree"}, file)
		p := h.packed(plan)
		if len(p.Pieces) != 1 || p.Label != "test" || p.Project != project || p.Reason != "" {
			t.Fatalf("plan %+v", p)
		}
		one := p.Pieces[0]
		car := h.car(one)
		sum := commp.New()
		_, _ = sum.Write(car)
		if c := ok(sum.Sum())(t); c.CIDv2.String() != one.CID || c.CIDv1.String() != one.CIDv1 || int64(c.PaddedSize) != one.PaddedSize || int64(len(car)) != one.CARSize {
			t.Errorf("piece %+v, the bytes say %+v", one, c)
		}
		held, order := read(t, car, one.Root)
		if int64(len(order)) != one.Blocks {
			t.Errorf("%d blocks, the piece says %d", len(order), one.Blocks)
		}
		for _, c := range []string{file.CID, tree.String(), one.Root} {
			must(t, dag.Complete(t.Context(), held, cid.MustParse(c)))
		}
		if got := names(t, held, one.Root); !slices.Equal(got, []string{"file", "tree"}) {
			t.Errorf("the piece's directory has %q", got)
		}
		found(t, h, one)
		told(t, h, plan, []string{"plan.planned", "plan.packing", "piece.ready", "plan.packed"})
	})
}

// found asks for a piece in every way there is.
func found(t *testing.T, h *house, want piece.Piece) {
	t.Helper()
	ctx := t.Context()
	for _, ref := range []string{fmt.Sprint(want.ID), want.CID, want.CIDv1} {
		if got := ok(h.pieces.Get(ctx, project, ref))(t); got != want {
			t.Errorf("%s: %+v, want %+v", ref, got, want)
		}
		if _, err := h.pieces.Get(ctx, project+1, ref); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: another project got %v", ref, err)
		}
	}
	if got := ok(h.pieces.Find(ctx, want.CIDv1))(t); got != want {
		t.Errorf("found %+v", got)
	}
	for _, bad := range []string{"", "-", "bafkqaaa", "99999999999999999999"} {
		if _, err := h.pieces.Get(ctx, project, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := ok(h.pieces.List(ctx, project, piece.Filter{}))(t); !slices.Equal(got, []piece.Piece{want}) {
		t.Errorf("list %+v", got)
	}
	if got := ok(h.pieces.List(ctx, project, piece.Filter{Before: want.ID}))(t); len(got) != 0 {
		t.Errorf("list before the first: %+v", got)
	}
	if got := ok(h.pieces.After(ctx, 0, 10))(t); !slices.Equal(got, []piece.Piece{want}) {
		t.Errorf("after 0: %+v", got)
	}
	if _, err := h.pieces.Plan(ctx, 1<<40); !fault.Is(err, fault.NotFound) {
		t.Errorf("a plan that is none: %v", err)
	}
}

// told checks the events of a plan.
func told(t *testing.T, h *house, plan int64, want []string) {
	t.Helper()
	var kinds []string
	until(t, func() bool {
		kinds = nil
		for _, e := range ok(h.events.Read(t.Context(), 0, 100))(t) {
			if e.Subject == fmt.Sprintf("plan/%d", plan) || e.Kind == "piece.ready" {
				kinds = append(kinds, e.Kind)
			}
		}
		return len(kinds) >= len(want)
	})
	slices.Sort(kinds)
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

func TestEqualPlansGiveEqualPieces(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), small, nil)
		h.run()
		roots := []piece.Root{h.file(1, 90_000), h.file(2, 300_000), h.file(3, 0)}
		var plans []piece.Plan
		for _, p := range []int64{project, project, project + 1} {
			plans = append(plans, h.packed(h.submit(p, roots...)))
		}
		if !slices.Equal(plans[0].Pieces, plans[1].Pieces) {
			t.Errorf("one project, two plans: %+v\n%+v", plans[0].Pieces, plans[1].Pieces)
		}
		for i, p := range plans[2].Pieces {
			if p.CID != plans[0].Pieces[i].CID || p.ID == plans[0].Pieces[i].ID || p.Project != project+1 {
				t.Errorf("another project's piece %+v", p)
			}
		}
		if got := ok(h.pieces.List(t.Context(), project, piece.Filter{Plan: plans[1].ID}))(t); len(got) != len(plans[1].Pieces) {
			t.Errorf("%d pieces of the second plan", len(got))
		}
	})
}

// What does not fit into one piece is cut between blocks: each piece keeps
// within its size, each block is in one of them, together they are whole.
func TestCut(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), small, nil)
	h.run()
	files, shared := map[string][]byte{}, noise(9, 4<<10)
	for i := range 120 { // files that share a leaf: each but the first is cut off from it
		files[fmt.Sprintf("dir/%03d", i)] = slices.Concat(shared, noise(uint64(i+100), 6<<10))
	}
	roots := []piece.Root{h.file(1, 1_500_000), {CID: h.tree(files).String(), Name: "part-000001"}, h.file(2, 10)}
	p := h.packed(h.submit(project, roots...))
	if len(p.Pieces) < 8 {
		t.Fatalf("%d pieces", len(p.Pieces))
	}
	all, seen := memory{}, map[cid.Cid]int{}
	for i, one := range p.Pieces {
		if one.PaddedSize > small.MaxPadded {
			t.Errorf("piece %d has %d bytes", i, one.PaddedSize)
		}
		held, order := read(t, h.car(one), one.Root)
		for _, c := range order {
			seen[c]++
		}
		for c, b := range held {
			all[c] = b
		}
		for _, name := range names(t, held, one.Root) {
			e := ok(dag.Resolve(t.Context(), held, cid.MustParse(one.Root), name))(t)
			if whole := dag.Complete(t.Context(), held, e.Cid) == nil; !whole && strings.HasPrefix(name, "part-") && i < len(p.Pieces)-1 && name != "part-000001" {
				t.Errorf("piece %d: %s is not whole in it", i, name)
			}
		}
	}
	for _, r := range roots {
		must(t, dag.Complete(t.Context(), all, cid.MustParse(r.CID)))
	}
	for c, n := range seen {
		if n != 1 {
			t.Errorf("block %s is in %d places", c, n)
		}
	}
	last, _ := read(t, h.car(p.Pieces[len(p.Pieces)-1]), p.Pieces[len(p.Pieces)-1].Root)
	if got := names(t, last, p.Pieces[len(p.Pieces)-1].Root); !slices.Contains(got, "part-000001") || !slices.Contains(got, "file") {
		t.Errorf("the last piece has %q, not the roots that were cut", got)
	}
}

func TestRootsOfManyKinds(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	h.run()
	tree := h.tree(map[string][]byte{"in": noise(5, 70_000), "other": noise(6, 10)})
	inner := ok(dag.Resolve(t.Context(), h.blocks, tree, "in"))(t).Cid
	empty := ok(dag.AddDirectory(t.Context(), h.blocks, nil, profile(t)))(t).Cid
	old := ok(dag.ProfileNamed("kubo"))(t)
	v0 := ok(dag.AddFile(t.Context(), h.blocks, bytes.NewReader(noise(8, 600_000)), old))(t).Cid
	cbor := cid.NewCidV1(cid.DagCBOR, blocks.NewBlock([]byte{0xa0}).Cid().Hash())
	must(t, h.blocks.PutMany(t.Context(), []blocks.Block{blocks.NewBlock([]byte{0xa0})}))
	linked := chain(t, 3)
	must(t, h.blocks.PutMany(t.Context(), linked))
	roots := []piece.Root{
		{CID: linked[2].Cid().String(), Name: "chain"}, {CID: tree.String(), Name: "same"}, {CID: inner.String(), Name: "same"}, {CID: empty.String(), Name: "a/b"},
		{CID: v0.String(), Name: ".."}, {CID: cid.NewCidV1(cid.DagProtobuf, v0.Hash()).String(), Name: "again"},
		{CID: cbor.String(), Name: "same (2)"},
	}
	p := h.packed(h.submit(project, roots...))
	held, _ := read(t, h.car(p.Pieces[0]), p.Pieces[0].Root)
	want := []string{"chain", "same", "same (2)", "same (2) (2)", empty.String(), v0.String()}
	got := names(t, held, p.Pieces[0].Root)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	for _, r := range roots {
		must(t, dag.Complete(t.Context(), held, cid.MustParse(r.CID)))
	}
}

func TestLayingOutReadsNoLeaf(t *testing.T) {
	reads := &counter{}
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, func(b piece.Blocks) piece.Blocks { reads.Blocks = b; return reads })
	h.run()
	files := map[string][]byte{}
	for i := range 2000 {
		files[fmt.Sprintf("%d/%d", i%40, i)] = noise(uint64(i), 20)
	}
	p := h.packed(h.submit(project, piece.Root{CID: h.tree(files).String(), Name: "tree"}))
	if got := reads.leaves.Load(); got != 2000 { // once, for the commitment
		t.Errorf("2000 leaves were read %d times", got)
	}
	if p.Pieces[0].Blocks != 2000+40+1+1 {
		t.Errorf("%d blocks", p.Pieces[0].Blocks)
	}
}

func TestWhatCannotBePackedSaysWhy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, opened(t, open), small, nil)
		h.run()
		root := h.file(1, 100_000)
		var leaf cid.Cid
		must(t, dag.Walk(t.Context(), h.blocks, cid.MustParse(root.CID), func(c cid.Cid, _ []byte) error { leaf = c; return io.EOF }), io.EOF)
		must(t, h.blocks.DeleteBlock(t.Context(), leaf))
		plan := h.submit(project, root)
		if p := h.over(plan); p.State != piece.Failed || !strings.Contains(p.Reason, leaf.String()) || len(p.Pieces) != 0 {
			t.Errorf("plan %+v", p)
		}
		told(t, h, plan, []string{"plan.planned", "plan.packing", "plan.failed"})

		big := blocks.NewBlock(noise(2, 300<<10))
		must(t, h.blocks.PutMany(t.Context(), []blocks.Block{big}))
		c := cid.NewCidV1(cid.Raw, big.Cid().Hash())
		if p := h.over(h.submit(project, piece.Root{CID: c.String()})); p.State != piece.Failed || !strings.Contains(p.Reason, "piece.max_size") {
			t.Errorf("plan %+v", p)
		}
	})
}

func TestSubmitRefuses(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), small, nil)
	for what, roots := range map[string][]piece.Root{
		"nothing":  nil,
		"no CID":   {{CID: "x"}},
		"too many": make([]piece.Root, piece.MaxRoots+1),
	} {
		err := h.db.Tx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			_, err := h.pieces.Submit(ctx, tx, project, "test", roots)
			return err
		})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A packer that dies with its process is taken over, by the next one or by one
// beside it, and the piece is the same.
func TestPackerDies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		gate := &stop{at: 20, reached: make(chan struct{})}
		h := build(t, opened(t, open), small, func(b piece.Blocks) piece.Blocks { gate.Blocks = b; return gate })
		end := h.run()
		plan := h.submit(project, h.file(1, 700_000))
		<-gate.reached
		end()
		if p := ok(h.pieces.Plan(t.Context(), plan))(t); p.State != piece.Packing {
			t.Fatalf("the plan is %s", p.State)
		}
		h.second(h.db, small, nil)
		h.run()
		first := h.packed(plan)
		again := h.packed(h.submit(project+1, h.file(1, 700_000)))
		for i := range first.Pieces {
			if first.Pieces[i].CID != again.Pieces[i].CID {
				t.Errorf("piece %d differs after a crash", i)
			}
		}
	})
}

func TestTwoNodesShareThePlans(t *testing.T) {
	url := dbtest.PostgresURL(t)
	sets := func(t *testing.T) *db.DB { return dbtest.Reopen(t, url, event.Migrations, piece.Migrations()) }
	h := build(t, migrated(t, sets), small, nil)
	h.run()
	h.second(sets(t), small, nil)
	h.run()
	same := h.file(1, 100_000)
	var plans []int64
	for i := range 20 {
		plans = append(plans, h.submit(project, same, h.file(uint64(2+i%3), 1000)))
	}
	cids := map[string]int64{}
	for _, plan := range plans {
		p := h.packed(plan)
		if id, twice := cids[p.Pieces[0].CID]; twice && id != p.Pieces[0].ID {
			t.Errorf("piece %s has the ids %d and %d", p.Pieces[0].CID, id, p.Pieces[0].ID)
		}
		cids[p.Pieces[0].CID] = p.Pieces[0].ID
	}
	if len(cids) != 3 {
		t.Errorf("%d pieces, want 3", len(cids))
	}
}

func TestReader(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	h.run()
	root := h.file(1, 400_000)
	one := h.packed(h.submit(project, root)).Pieces[0]
	car := h.car(one)
	var readers sync.WaitGroup
	for n := range 8 {
		readers.Go(func() {
			r, err := h.pieces.Open(t.Context(), one.CIDv1)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for i := range 50 {
				off := int64(i*7919*(n+1)) % one.CARSize
				if _, err := r.Seek(off, io.SeekStart); err != nil {
					t.Error(err)
				}
				got, err := io.ReadAll(io.LimitReader(r, 5000))
				if err != nil || !bytes.Equal(got, car[off:min(off+5000, one.CARSize)]) {
					t.Errorf("at %d: %d bytes, %v", off, len(got), err)
				}
			}
		})
	}
	readers.Wait()

	r := ok(h.pieces.Open(t.Context(), one.CID))(t)
	defer r.Close()
	if at := ok(r.Seek(-10, io.SeekEnd))(t); at != r.Size()-10 {
		t.Errorf("ten from the end is %d", at)
	}
	if got := ok(io.ReadAll(r))(t); !bytes.Equal(got, car[len(car)-10:]) {
		t.Error("the last ten bytes differ")
	}
	ok(r.Seek(5, io.SeekCurrent))(t)
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); !fault.Is(err, fault.Invalid) {
		t.Errorf("before the beginning: %v", err)
	}

	must(t, dag.Walk(t.Context(), h.blocks, cid.MustParse(root.CID), func(c cid.Cid, data []byte) error {
		off, n, err := h.pieces.Locate(t.Context(), one.CID, c)
		if err != nil || !bytes.Equal(car[off:off+n], data) {
			t.Errorf("block %s is not at %d: %v", c, off, err)
		}
		return nil
	}))
	if _, _, err := h.pieces.Locate(t.Context(), one.CID, cid.MustParse(h.file(2, 9).CID)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a block of elsewhere: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	r = ok(h.pieces.Open(ctx, one.CID))(t)
	defer r.Close()
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader who has gone: %v", err)
	}
	must(t, h.blocks.DeleteBlock(t.Context(), cid.MustParse(root.CID)))
	r = ok(h.pieces.Open(t.Context(), one.CID))(t)
	defer r.Close()
	if got, err := io.ReadAll(r); err == nil || !bytes.HasPrefix(car, got) || !strings.Contains(err.Error(), root.CID) {
		t.Errorf("a lost block: %d bytes, %v", len(got), err)
	}
}

func TestCachedCAR(t *testing.T) {
	h := build(t, opened(t, dbtest.SQLite), piece.Settings{}, nil)
	end := h.run()
	root := h.file(1, 100_000)
	one := h.packed(h.submit(project, root)).Pieces[0]
	if _, kept := h.pieces.OpenCached(one); kept || one.Cached {
		t.Error("a CAR is kept that nobody wanted")
	}
	end()
	h.second(h.db, piece.Settings{CacheCAR: true, MinPadded: 1 << 20}, nil)
	h.run()
	padded := h.packed(h.submit(project, root)).Pieces[0]
	if padded.CIDv1 == one.CIDv1 || padded.PaddedSize != 1<<20 || padded.CARSize != one.CARSize || !padded.Cached {
		t.Errorf("padded piece %+v", padded)
	}
	f, kept := h.pieces.OpenCached(padded)
	if !kept {
		t.Fatal("no CAR is kept")
	}
	defer f.Close()
	if got := ok(io.ReadAll(f))(t); !bytes.Equal(got, h.car(one)) {
		t.Error("the kept CAR differs from the view")
	}
	must(t, os.Truncate(f.Name(), 100))
	if _, kept := h.pieces.OpenCached(padded); kept {
		t.Error("a CAR cut short is served")
	}
}

// counter counts reads of leaves.
type counter struct {
	piece.Blocks
	leaves atomic.Int64
}

func (c *counter) Get(ctx context.Context, k cid.Cid) (blocks.Block, error) {
	if k.Type() == cid.Raw {
		c.leaves.Add(1)
	}
	return c.Blocks.Get(ctx, k)
}

// stop lets a number of reads pass and holds the next until its ctx ends, as
// if the process stood still and was then killed.
type stop struct {
	piece.Blocks
	at      int64
	n       atomic.Int64
	reached chan struct{}
}

func (s *stop) Get(ctx context.Context, k cid.Cid) (blocks.Block, error) {
	if s.n.Add(1) == s.at {
		close(s.reached)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Blocks.Get(ctx, k)
}

// memory is the blocks of a CAR.
type memory map[cid.Cid]blocks.Block

func (m memory) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	if b, ok := m[cid.NewCidV1(c.Type(), c.Hash())]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "block %s: is not in the CAR", c)
}

// read reads a CAR to its end, every digest checked, and checks its root and
// that blocks come after what they link to.
func read(t *testing.T, car []byte, root string) (memory, []cid.Cid) {
	t.Helper()
	r := ok(dag.NewCARReader(bytes.NewReader(car), dag.CAROptions{}))(t)
	if r.Version != 1 || len(r.Roots) != 1 || r.Roots[0].String() != root {
		t.Errorf("version %d, roots %v, want 1 and %s", r.Version, r.Roots, root)
	}
	held, place, order := memory{}, map[cid.Cid]int{}, []cid.Cid{}
	for {
		b, _, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		c := cid.NewCidV1(b.Cid().Type(), b.Cid().Hash())
		held[c], place[c] = b, len(order)
		order = append(order, c)
	}
	for _, c := range order {
		for _, child := range ok(dag.Children(t.Context(), held, c))(t) {
			if at, here := place[cid.NewCidV1(child.Type(), child.Hash())]; here && at > place[c] {
				t.Errorf("block %s comes before its child %s", c, child)
			}
		}
	}
	return held, order
}

func names(t *testing.T, held memory, root string) (all []string) {
	t.Helper()
	for e, err := range dag.Links(t.Context(), held, cid.MustParse(root)) {
		must(t, err)
		all = append(all, e.Name)
	}
	return all
}
