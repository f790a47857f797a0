package api

import (
	"bufio"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/retrieval"
	"github.com/firth-project/firth/front"
)

// carType is the media type of our CARs: the DAG depth first from its root,
// each block once.
const carType = "application/vnd.ipld.car; version=1; order=dfs; dups=n"

// providerHeader, a trailer, says whose bytes they were.
const providerHeader = "X-Firth-Provider"

type download struct {
	Exchange
	Ref      string `path:"ref" doc:"id or root CID"`
	Provider string `query:"provider" doc:"f0… is that provider, any the best one that holds it; left out, the node's own blocks"`
}

// streamed is an answer that is written as it comes.
type streamed struct{ Body func(huma.Context) }

func (d *door) downloadRoute() {
	add(d, route{
		id: "downloadContent", method: http.MethodGet, path: "/v1/contents/{ref}/car", tag: "content", scope: account.ReadContent,
		summary: "Download a content as a CAR",
		detail: "CARv1, the DAG depth first from its root, each block once and verified. What breaks off has failed: the stream then " +
			"ends without its last chunk. The trailer `" + providerHeader + "` names the provider the bytes came from.",
	}, func(ctx context.Context, g account.Grant, in *download) (*streamed, error) {
		c, err := d.Contents.Get(ctx, g.Project, in.Ref)
		if err != nil {
			return nil, err
		}
		if c.CID == "" {
			return nil, fault.New(fault.Conflict, "content %d: is %s, there are no bytes of it", c.ID, c.State)
		}
		return &streamed{func(huma.Context) { d.sendCAR(ctx, g, in, c) }}, nil
	})
}

// sendCAR answers with the CAR. Until the first block is there an error is
// answered as a problem; after that the connection is broken off, since nothing
// else tells a reader of a stream that it is not whole.
func (d *door) sendCAR(ctx context.Context, g account.Grant, in *download, c content.Content) {
	out := &carWriter{w: in.answer}
	from, err := d.walk(ctx, g, in.Provider, c, out)
	if err == nil {
		err = out.finish(from)
	}
	if err == nil {
		return
	}
	if !out.begun {
		front.WriteProblem(in.answer, in.request, err)
		return
	}
	front.Note(ctx, err)
	panic(http.ErrAbortHandler) // net/http's way to break a connection off
}

// walk hands a content's blocks to out, from where they were asked for.
func (d *door) walk(ctx context.Context, g account.Grant, from string, c content.Content, out *carWriter) (provider string, err error) {
	root, err := cid.Decode(c.CID)
	if err != nil {
		return "", fault.New(fault.Internal, "content %d: root %q: %w", c.ID, c.CID, err)
	}
	out.root = root
	if from == "" {
		return "", retrieval.Walk(ctx, d.Blocks, root, out.write)
	}
	b, err := d.Contents.Bucket(ctx, g.Project, c.Bucket)
	if err != nil {
		return "", err
	}
	if b.Plan == 0 {
		return "", fault.New(fault.Conflict, "content %d: is not with providers yet, its bucket is %s", c.ID, b.State)
	}
	if from == client.AnyProvider {
		from = ""
	}
	out.trailer = true
	r, err := d.Retrievals.Fetch(ctx, retrieval.Request{Project: g.Project, Root: root, Plan: b.Plan, Provider: from}, out.write)
	return r.Provider, err
}

// carWriter writes a CAR as an answer. A reader that takes nothing for too long
// is given up.
type carWriter struct {
	w       http.ResponseWriter
	root    cid.Cid
	trailer bool
	begun   bool
	buf     *bufio.Writer
	renew   time.Time
}

func (o *carWriter) write(b blocks.Block) error {
	if !o.begun {
		o.begin()
	}
	if now := time.Now(); now.After(o.renew) {
		_ = http.NewResponseController(o.w).SetWriteDeadline(now.Add(patience)) // a test's recorder has none
		o.renew = now.Add(patience / 8)
	}
	if _, err := o.buf.Write(dag.CARSectionHeader(b.Cid(), len(b.RawData()))); err != nil {
		return fault.Mark(fault.Unavailable, err)
	}
	_, err := o.buf.Write(b.RawData())
	return fault.Mark(fault.Unavailable, err)
}

func (o *carWriter) begin() {
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", carType)
	h.Set("Content-Disposition", `attachment; filename="`+o.root.String()+`.car"`)
	if o.trailer {
		h.Set("Trailer", providerHeader)
	}
	o.w.WriteHeader(http.StatusOK)
	o.buf = bufio.NewWriterSize(o.w, 256<<10)
	_, _ = o.buf.Write(dag.CARHeader([]cid.Cid{o.root})) // an error comes back with the next write
}

// finish ends a whole CAR. A DAG without blocks, an identity CID, is a header.
func (o *carWriter) finish(provider string) error {
	if !o.begun {
		o.begin()
	}
	if provider != "" {
		o.w.Header().Set(providerHeader, provider)
	}
	if err := o.buf.Flush(); err != nil {
		return fault.Mark(fault.Unavailable, err)
	}
	_ = http.NewResponseController(o.w).SetWriteDeadline(time.Time{})
	return nil
}
