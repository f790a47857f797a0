package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/app"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type tryCmd struct {
	Paths     []string      `arg:"" sep:"none" name:"path" help:"Files and directories to store."`
	Providers int           `help:"Storage providers in the local network." default:"3"`
	Copies    int           `help:"Copies to keep." default:"3"`
	Keep      bool          `help:"Leave the node running at the end, to look around."`
	Timeout   time.Duration `help:"Give up after this long." default:"1h"`
}

// tryAnswer is the JSON contract of `firth try`.
type tryAnswer struct {
	Content   tryContent   `json:"content"`
	Pieces    []tryPiece   `json:"pieces"`
	Deals     []tryDeal    `json:"deals"`
	Retrieval tryRetrieval `json:"retrieval"`
}

type tryContent struct {
	CID   string `json:"cid"`
	Size  int64  `json:"size"` // bytes
	Files int64  `json:"files"`
}

type tryPiece struct {
	PieceCID   string `json:"piece_cid"` // v2
	PieceCIDv1 string `json:"piece_cid_v1"`
	Root       string `json:"root"`
	CARSize    int64  `json:"car_size"`
	PaddedSize int64  `json:"padded_size"`
}

type tryDeal struct {
	UUID     string `json:"uuid"`
	Provider string `json:"provider"`
	PieceCID string `json:"piece_cid"`
	State    string `json:"state"`
	DealID   int64  `json:"deal_id"`
}

type tryRetrieval struct {
	Provider string `json:"provider"`
	Bytes    int64  `json:"bytes"`
	Verified bool   `json:"verified"`
}

// trial is one run of try.
type trial struct {
	*call
	cmd     *tryCmd
	home    string
	sources []source
	node    *app.Trial
	name    string // of the content
	bucket  int64
	client  *client.Client
	line    *waiting // the one that is being rewritten, if any
	answer  tryAnswer
}

func (c *tryCmd) Run(call *call) (err error) {
	t := &trial{call: call, cmd: c}
	if c.Copies < 1 {
		return fault.New(fault.Invalid, "--copies is %d; keep one at least", c.Copies)
	}
	if c.Copies > c.Providers {
		return fault.New(fault.Invalid, "%d copies need as many providers, there are %d; raise --providers", c.Copies, c.Providers)
	}
	for _, path := range c.Paths {
		s, err := look(path)
		if err != nil {
			return err
		}
		t.sources = append(t.sources, s)
	}
	ctx, cancel := context.WithTimeoutCause(call.ctx, c.Timeout,
		fault.New(fault.Unavailable, "not done within --timeout %s", c.Timeout))
	defer cancel()
	if t.home = call.global.Home; t.home == "" {
		if t.home, err = os.MkdirTemp("", "firth-try-*"); err != nil {
			return fault.Wrap(pathFault(os.TempDir(), err), "make a temporary home")
		}
		defer func() { err = errors.Join(err, os.RemoveAll(t.home)) }()
	}
	defer func() {
		if t.node != nil {
			err = errors.Join(err, t.node.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{t.start, t.store, t.pack, t.replicate, t.retrieve} {
		if err := step(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil && call.ctx.Err() == nil {
				err = cause
			}
			return nodeFault(err)
		}
	}
	if err := t.conclude(); err != nil || !c.Keep {
		return err
	}
	return t.node.Wait(call.ctx)
}

// say prints a line for people; with --json there is none.
func (t *trial) say(format string, args ...any) {
	if !t.global.JSON {
		t.line.hide()
		fmt.Fprintf(t.out, format+"\n", args...)
	}
}

func (t *trial) start(ctx context.Context) (err error) {
	t.say("Firth shows the whole life of your data, on this machine alone: nothing leaves it.\n")
	t.node, err = app.StartTrial(ctx, app.TrialConfig{Home: t.home, Providers: t.cmd.Providers, Copies: t.cmd.Copies, Log: t.err})
	if err != nil {
		return err
	}
	if t.client, err = client.New(t.node.API, client.Options{Token: t.node.Token, UserAgent: "firth-try"}); err != nil {
		return err
	}
	t.say("1. Started a node, and a local Filecoin network with %s.", plural(t.cmd.Providers, "storage provider"))
	return nil
}

func (t *trial) store(ctx context.Context) error {
	var total int64
	for _, s := range t.sources {
		total += s.bytes
	}
	began := time.Now()
	p := t.progress("storing", total)
	c, err := t.send(ctx, p)
	p.done()
	if err != nil {
		return err
	}
	t.name, t.answer.Content = c.Name, tryContent{c.CID, c.Size, c.Files}
	t.say("2. Stored %s: %s, %s, in %s. Its address, computed from its bytes alone:\n     %s",
		quoted(c.Name), plural(int(c.Files), "file"), size(c.Size), took(began), c.CID)
	b, err := t.client.CloseBucket(ctx, c.Bucket)
	if err != nil {
		return err
	}
	t.bucket = b.ID
	return nil
}

// send stores one path as what it is, several as one directory.
func (t *trial) send(ctx context.Context, p *progress) (client.Content, error) {
	if len(t.sources) == 1 {
		return send(ctx, t.client, t.sources[0], "", client.AddOptions{}, p)
	}
	var names []string
	for _, s := range t.sources {
		if slices.Contains(names, s.name) {
			return client.Content{}, fault.New(fault.Invalid, "two of the paths are called %q; rename one, or try them one by one", s.name)
		}
		names = append(names, s.name)
	}
	return t.client.AddTree(ctx, strings.Join(names, " "), counted(ctx, t.entries(), p), client.AddOptions{})
}

// entries lays several sources side by side under their names.
func (t *trial) entries() iter.Seq2[client.Entry, error] {
	return func(yield func(client.Entry, error) bool) {
		for _, s := range t.sources {
			if !yieldSource(s, yield) {
				return
			}
		}
	}
}

func yieldSource(s source, yield func(client.Entry, error) bool) bool {
	if !s.dir {
		f, err := client.OpenLocal(s.path)
		if err != nil {
			return yield(client.Entry{}, pathFault(s.path, err))
		}
		defer f.Close()
		return yield(client.Entry{Path: s.name, Kind: client.File, Body: f}, nil)
	}
	if !yield(client.Entry{Path: s.name, Kind: client.Directory}, nil) {
		return false
	}
	for e, err := range client.LocalTree(s.path + "/") {
		e.Path = s.name + "/" + e.Path
		if !yield(e, err) {
			return false
		}
	}
	return true
}

func (t *trial) pack(ctx context.Context) error {
	began := time.Now()
	err := t.await(ctx, "packing", func() (string, bool, error) {
		b, err := t.client.Bucket(ctx, t.bucket)
		switch {
		case err != nil:
			return "", false, err
		case b.State == "failed":
			return "", false, fault.New(fault.Internal, "packing: %s", b.Reason)
		case b.Plan == 0 || b.State == "closing" || b.State == "packing":
			return b.State, false, nil
		}
		for p, err := range t.client.Pieces(ctx, client.PieceFilter{Plan: b.Plan}) {
			if err != nil {
				return "", false, err
			}
			t.answer.Pieces = append(t.answer.Pieces, tryPiece{p.PieceCID, p.PieceCIDv1, p.Root, p.CARSize, p.PaddedSize})
		}
		return b.State, true, nil
	})
	if err != nil {
		return err
	}
	t.say("3. Packed it into %s, the unit that storage providers keep, in %s. A fingerprint of every bit in it:",
		plural(len(t.answer.Pieces), "piece"), took(began))
	for _, p := range t.answer.Pieces {
		t.say("     %s  (%s)", p.PieceCID, size(p.PaddedSize))
	}
	return nil
}

// lifeOfDeal says in plain words what a deal's state means.
var lifeOfDeal = map[string]string{
	"proposed":         "agreed to keep it",
	"transferring":     "fetches it and checks the fingerprint",
	"published":        "fingerprint checked; the deal is written on the chain",
	"active":           "keeps it: the deal is active on the chain",
	"rejected":         "refused",
	"failed":           "failed",
	"proposal_expired": "was too late",
}

func (t *trial) replicate(ctx context.Context) error {
	t.say("4. Offers it to %s:", plural(t.cmd.Providers, "provider"))
	seen := map[string]string{}
	return t.await(ctx, "waiting for deals", func() (string, bool, error) {
		var deals []tryDeal
		active := map[string]int{}
		for d, err := range t.client.Deals(ctx, client.DealFilter{}) {
			if err != nil {
				return "", false, err
			}
			deals = append(deals, tryDeal{d.UUID, d.Provider, d.PieceCID, d.State, d.DealID})
			if d.State == "active" {
				active[d.PieceCID]++
			}
			if words := lifeOfDeal[d.State]; words != "" && seen[d.UUID] != d.State {
				seen[d.UUID] = d.State
				if d.Reason != "" && slices.Contains([]string{"rejected", "failed", "proposal_expired"}, d.State) {
					words += ": " + d.Reason
				}
				t.say("     %s  %s", d.Provider, words)
			}
		}
		slices.SortFunc(deals, func(a, b tryDeal) int { return strings.Compare(a.Provider+a.PieceCID, b.Provider+b.PieceCID) })
		t.answer.Deals = deals
		done, all := 0, true
		for _, p := range t.answer.Pieces {
			done += active[p.PieceCID]
			all = all && active[p.PieceCID] >= t.cmd.Copies
		}
		return fmt.Sprintf("%d of %d active", done, len(t.answer.Pieces)*t.cmd.Copies), all, nil
	})
}

func (t *trial) retrieve(ctx context.Context) error {
	began := time.Now()
	p := t.progress("retrieving", t.answer.Content.Size)
	defer p.done()
	car, err := t.client.ContentCAR(ctx, t.answer.Content.CID, client.AnyProvider)
	if err != nil {
		return err
	}
	defer car.Close()
	copyPath := filepath.Join(t.home, "retrieved")
	done, err := restore(ctx, p.reader(ctx, car), t.answer.Content.CID, copyPath)
	if err != nil {
		return err
	}
	t.answer.Retrieval = tryRetrieval{Provider: car.Provider(), Bytes: done.Bytes}
	t.say("5. Fetched it back from provider %s: %s in %s, every block checked against its address.",
		car.Provider(), size(done.Bytes), took(began))
	for _, s := range t.sources {
		copied := copyPath
		if len(t.sources) > 1 {
			copied = filepath.Join(copyPath, s.name)
		}
		if err := same(ctx, s.path, copied); err != nil {
			return err
		}
	}
	t.answer.Retrieval.Verified = true
	t.say("6. Compared it with your files: every byte is the same.")
	return os.RemoveAll(copyPath)
}

func (t *trial) conclude() error {
	if t.global.JSON {
		if err := t.printJSON(t.answer); err != nil {
			return err
		}
	}
	for _, d := range t.answer.Deals {
		if d.State != "active" {
			return fault.New(fault.Unavailable, "deal %s with %s ended as %s", d.UUID, d.Provider, d.State)
		}
	}
	t.say("\nProved: %s, known by an address anyone can recompute, is kept by %s under deals\non a chain, and came back whole without trusting any of them.\n",
		quoted(t.name), plural(t.cmd.Copies, "independent provider"))
	if !t.cmd.Keep {
		t.say("To look around, run it again with --keep. To keep real data: firth serve.")
		return nil
	}
	t.say("The node goes on until Ctrl-C. Look around:\n  your data   %s/ipfs/%s\n  the API     %s/v1/docs\n  by command  firth --home %s ls",
		t.node.API, t.answer.Content.CID, t.node.API, t.home)
	if t.global.JSON {
		fmt.Fprintf(t.err, "node: %s  home: %s\n", t.node.API, t.home)
	}
	return nil
}

// await asks until done, showing how it stands where somebody watches.
func (t *trial) await(ctx context.Context, what string, ask func() (state string, done bool, err error)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	t.line = t.waiting(what)
	defer func() { t.line.done(); t.line = nil }()
	for {
		state, done, err := ask()
		if err != nil || done {
			return err
		}
		t.line.show(state)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// took is a duration for people.
func took(since time.Time) string {
	d := time.Since(since)
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// plural is a number with its noun.
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func quoted(name string) string { return fmt.Sprintf("%q", name) }
