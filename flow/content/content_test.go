package content_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/content"
)

func TestAddFile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		ctx := t.Context()
		body := noise(1, 3_000_000)
		c := ok(h.contents.AddFile(ctx, content.Add{Project: project, Name: "movie"}, bytes.NewReader(body)))(t)
		if c.State != content.Stored || c.Size != 3_000_000 || c.Files != 1 || c.Profile != dag.DefaultProfile || c.Bucket == 0 {
			t.Errorf("content %+v", c)
		}
		f, _, err := dag.OpenFile(ctx, h.blocks, cid.MustParse(c.CID))
		must(t, err)
		if got := ok(io.ReadAll(f))(t); !bytes.Equal(got, body) {
			t.Error("other bytes came back")
		}
		again := ok(h.contents.AddFile(ctx, content.Add{Project: project, Name: "copy"}, bytes.NewReader(body)))(t)
		if again.CID != c.CID || again.ID == c.ID || again.Bucket != c.Bucket {
			t.Errorf("the same bytes again: %+v", again)
		}
		empty := ok(h.contents.AddFile(ctx, content.Add{Project: project}, strings.NewReader("")))(t)
		if empty.Size != 0 || empty.CID != "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku" {
			t.Errorf("empty file %+v", empty)
		}
		for ref, want := range map[string]int64{fmt.Sprint(c.ID): c.ID, c.CID: again.ID, strings.ToUpper(c.CID): again.ID} {
			if got := ok(h.contents.Get(ctx, project, ref))(t); got.ID != want {
				t.Errorf("%s is content %d, want %d", ref, got.ID, want)
			}
			if _, err := h.contents.Get(ctx, project+1, ref); !fault.Is(err, fault.NotFound) {
				t.Errorf("another project got %v", err)
			}
		}
		if _, err := h.contents.Get(ctx, project, "nonsense"); !fault.Is(err, fault.Invalid) {
			t.Errorf("nonsense: %v", err)
		}
		if _, err := h.contents.AddFile(ctx, content.Add{Project: project, Profile: "x"}, strings.NewReader("")); !fault.Is(err, fault.Invalid) {
			t.Errorf("profile x: %v", err)
		}
		if b := h.bucket(c.Bucket); b.Size != 6_000_000 || b.Contents != 3 || b.State != content.Open || !b.ClosesAt.Equal(h.clock.now().Add(plain.BucketAge)) {
			t.Errorf("bucket %+v", b)
		}
		lists(t, h, c, again)
	})
}

func lists(t *testing.T, h *house, c, again content.Content) {
	t.Helper()
	for name, one := range map[string]struct {
		f    content.Filter
		want int
	}{
		"all": {content.Filter{}, 3}, "state": {content.Filter{State: content.Stored}, 3}, "failed": {content.Filter{State: content.Failed}, 0},
		"cid": {content.Filter{CID: c.CID}, 2}, "name": {content.Filter{Name: "copy"}, 1}, "zero byte": {content.Filter{Name: "\x00"}, 0},
		"bucket": {content.Filter{Bucket: c.Bucket}, 3}, "before": {content.Filter{Before: again.ID}, 1}, "limit": {content.Filter{Limit: 2}, 2},
	} {
		if got := ok(h.contents.List(t.Context(), project, one.f))(t); len(got) != one.want {
			t.Errorf("%s: %d contents, want %d", name, len(got), one.want)
		}
	}
	if _, err := h.contents.List(t.Context(), project, content.Filter{CID: "x"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("list by a CID that is none: %v", err)
	}
}

func TestAddTree(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		ctx := t.Context()
		odd := "latin-\xe9/\xff\xfe"
		c := ok(h.contents.AddTree(ctx, content.Add{Project: project, Name: "t\x00ree\xff\n"}, entries(
			content.Entry{Path: odd, Body: strings.NewReader("odd")},
			content.Entry{Path: "a/link", Kind: content.Symlink, Target: "../b"},
			content.Entry{Path: "empty", Kind: content.Directory},
			content.Entry{Path: "a/b", Body: strings.NewReader("four")},
		)))(t)
		if c.Size != 7 || c.Files != 3 || !utf8.ValidString(c.Name) || strings.ContainsAny(c.Name, "\x00\n") {
			t.Errorf("content %+v", c)
		}
		root := cid.MustParse(c.CID)
		if e := ok(dag.Resolve(ctx, h.blocks, root, odd))(t); e.Name != "\xff\xfe" || e.Size != 3 {
			t.Errorf("a name that is no UTF-8: %+v", e)
		}
		if e := ok(dag.Resolve(ctx, h.blocks, root, "empty"))(t); !e.Dir {
			t.Errorf("an empty directory: %+v", e)
		}
		none := ok(h.contents.AddTree(ctx, content.Add{Project: project, Name: "none"}, entries()))(t)
		if none.CID != "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354" || none.Files != 0 {
			t.Errorf("an empty tree: %+v", none)
		}
		for _, bad := range []string{"z\x00", "../up", "a//b/../..", "", "."} {
			_, err := h.contents.AddTree(ctx, content.Add{Project: project, Name: "bad"}, entries(content.Entry{Path: bad, Body: strings.NewReader("x")}))
			if err == nil {
				t.Errorf("path %q was taken", bad)
				continue
			}
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("path %q: %v", bad, err)
			}
		}
		for _, c := range ok(h.contents.List(ctx, project, content.Filter{Name: "bad"}))(t) {
			if c.State != content.Failed || c.Reason == "" {
				t.Errorf("refused tree %+v", c)
			}
		}
	})
}

func TestTreeOfTenThousand(t *testing.T) {
	h := build(t, dbtest.SQLite, plain)
	many := func(yield func(content.Entry, error) bool) {
		for i := range 10_000 {
			if !yield(content.Entry{Path: fmt.Sprintf("%03d/%d", i%100, i), Body: strings.NewReader(fmt.Sprint(i))}, nil) {
				return
			}
		}
	}
	c := ok(h.contents.AddTree(t.Context(), content.Add{Project: project}, many))(t)
	if c.Files != 10_000 || c.Size != 38_890 {
		t.Errorf("%d files of %d bytes", c.Files, c.Size)
	}
	must(t, dag.Complete(t.Context(), h.blocks, cid.MustParse(c.CID)))
}

// An upload that breaks off is never acknowledged, and says why.
func TestBrokenUploads(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		h.run(false)
		fails := func(name string, ctx context.Context, r io.Reader, reason string) {
			t.Helper()
			_, err := h.contents.AddFile(ctx, content.Add{Project: project, Name: name}, r)
			if err == nil {
				t.Fatalf("%s: was acknowledged", name)
			}
			got := ok(h.contents.List(t.Context(), project, content.Filter{Name: name}))(t)
			if len(got) != 1 || got[0].State != content.Failed || !strings.Contains(got[0].Reason, reason) || got[0].Bucket != 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
		begun := bytes.NewReader(noise(1, 100_000))
		fails("cut", t.Context(), io.MultiReader(begun, iotest.ErrReader(io.ErrUnexpectedEOF)), "send it again")
		fails("disk", t.Context(), iotest.ErrReader(errors.New("disk \xff\x00 on fire")), "on fire")
		gone, cancel := context.WithCancel(t.Context())
		fails("gone", gone, readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }), "send it again")
		fails("panics", t.Context(), readerFunc(func([]byte) (int, error) { panic("oh") }), "oh")
		_, err := h.contents.AddTree(t.Context(), content.Add{Project: project, Name: "tree"}, func(yield func(content.Entry, error) bool) {
			_ = yield(content.Entry{Path: "a", Body: strings.NewReader("x")}, nil) && yield(content.Entry{}, io.ErrUnexpectedEOF)
		})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a tree that breaks off: %v", err)
		}
		if got := ok(h.contents.Buckets(t.Context(), project, content.BucketFilter{}))(t); len(got) != 0 {
			t.Errorf("buckets %+v", got)
		}
		until(t, func() bool { return count(h.kinds(), "content.failed") == 5 })
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A row whose process died is swept when its lease is over, not before; an
// upload that was taken for dead is not acknowledged after all.
func TestLease(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		more, result := make(chan struct{}), make(chan error, 1)
		started := make(chan struct{})
		first := true
		go func() {
			_, err := h.contents.AddFile(t.Context(), content.Add{Project: project, Name: "slow"}, readerFunc(func(p []byte) (int, error) {
				if first {
					first = false
					close(started)
				}
				<-more
				return 0, io.EOF
			}))
			result <- err
		}()
		<-started
		h.clock.move(plain.Lease - time.Second)
		must(t, h.contents.Reconcile(t.Context()))
		c := h.get(1)
		if c.State != content.Receiving {
			t.Fatalf("swept before its time: %+v", c)
		}
		if err := h.contents.Remove(t.Context(), project, c.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("removed while it is received: %v", err)
		}
		h.clock.move(2 * time.Second)
		must(t, h.contents.Reconcile(t.Context()))
		if c = h.get(1); c.State != content.Failed || !strings.Contains(c.Reason, "send it again") {
			t.Errorf("not swept: %+v", c)
		}
		close(more)
		if err := <-result; !fault.Is(err, fault.Conflict) {
			t.Errorf("the upload that was taken for dead: %v", err)
		}
		if c = h.get(1); c.State != content.Failed || c.Bucket != 0 {
			t.Errorf("it came back: %+v", c)
		}
	})
}

// While bytes are awaited the lease is kept; here it is far shorter than the
// upload takes.
func TestLeaseIsKept(t *testing.T) {
	s := plain
	s.Lease = 30 * time.Millisecond
	h := build(t, dbtest.SQLite, s)
	renewed := func() time.Time {
		var at time.Time
		must(t, h.db.Read().NewSelect().Table("content").Column("lease_until").Where("id = 1").Scan(t.Context(), &at))
		return at
	}
	c := ok(h.contents.AddFile(t.Context(), content.Add{Project: project}, readerFunc(func(p []byte) (int, error) {
		for range 3 { // each beat gives the lease a new end
			before := renewed()
			h.clock.move(time.Second)
			until(t, func() bool { return renewed().After(before) })
			must(t, h.contents.Reconcile(t.Context()))
		}
		return 0, io.EOF
	})))(t)
	if c.State != content.Stored {
		t.Errorf("content %+v", c)
	}
}

func TestRemove(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		h := build(t, open, plain)
		h.run(false)
		ctx := t.Context()
		var all []content.Content
		for i := range 3 {
			all = append(all, ok(h.contents.AddFile(ctx, content.Add{Project: project}, bytes.NewReader(noise(uint64(i), 100))))(t))
		}
		must(t, h.contents.Remove(ctx, project, all[1].ID))
		if err := h.contents.Remove(ctx, project, all[1].ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("removed twice: %v", err)
		}
		if err := h.contents.Remove(ctx, project+1, all[0].ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("removed by another project: %v", err)
		}
		if _, err := h.contents.Get(ctx, project, all[1].CID); !fault.Is(err, fault.NotFound) {
			t.Errorf("got what was removed: %v", err)
		}
		b := h.bucket(all[0].Bucket)
		if b.Size != 200 || b.Contents != 2 {
			t.Errorf("bucket %+v", b)
		}
		ok(h.contents.CloseBucket(ctx, project, b.ID))(t)
		for _, i := range []int{0, 2} {
			must(t, h.contents.Remove(ctx, project, all[i].ID))
		}
		must(t, h.contents.Reconcile(ctx))
		if b = h.bucket(b.ID); b.State != content.Collected || b.Contents != 0 || b.Plan != 0 {
			t.Errorf("a bucket whose contents are gone: %+v", b)
		}
		if got := ok(h.contents.List(ctx, project, content.Filter{State: content.Removed}))(t); len(got) != 3 {
			t.Errorf("%d removed", len(got))
		}
		until(t, func() bool { return count(h.kinds(), "content.removed") == 3 })
	})
}
