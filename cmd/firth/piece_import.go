package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type pieceImportCmd struct {
	CARs     []string `arg:"" name:"car" help:"CAR files, directories of *.car, or URLs. Files are read by the node, where it runs."`
	Copy     bool     `help:"Copy the CARs into the blob store instead of reading them where they are."`
	PieceCID string   `help:"Piece CID the CAR has to have; of one CAR only." placeholder:"CID" name:"piece-cid"`
	Root     string   `help:"Root of the piece; of one CAR only. Default is the CAR's own." placeholder:"CID"`
	Detach   bool     `help:"Do not wait until the pieces are there; firth piece imports shows how far they are."`
}

// importedPiece is the JSON contract of `firth piece import`, a line a CAR. Of
// one that the node did not take up there are only place, state and reason.
type importedPiece struct {
	client.Import
	Made *client.Piece `json:"made,omitempty"` // the piece
}

func (i *pieceImportCmd) Run(call *call) error {
	places, err := i.places()
	if err != nil {
		return err
	}
	if i.PieceCID != "" && len(places) != 1 {
		return fault.New(fault.Invalid, "--piece-cid names one CAR, %d are given", len(places))
	}
	if i.Root != "" && len(places) != 1 {
		return fault.New(fault.Invalid, "--root is the root of one CAR, %d are given", len(places))
	}
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		b := &importing{call: call, cl: cl, detach: i.Detach, all: len(places)}
		return b.run(ctx, i, places)
	})
}

// places are the CARs that are named, as the node finds them, each once.
func (i *pieceImportCmd) places() ([]string, error) {
	var all []string
	seen := map[string]bool{}
	add := func(place string) {
		if !seen[place] {
			all = append(all, place)
		}
		seen[place] = true
	}
	for _, name := range i.CARs {
		place, err := ofNode(name)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(place)
		if err != nil || !info.IsDir() { // a file the node may see and this command not, or a URL
			add(place)
			continue
		}
		entries, err := os.ReadDir(place)
		if err != nil {
			return nil, pathFault(place, err)
		}
		found := false
		for _, e := range entries {
			if strings.EqualFold(filepath.Ext(e.Name()), ".car") && !e.IsDir() {
				add(filepath.Join(place, e.Name()))
				found = true
			}
		}
		if !found {
			return nil, fault.New(fault.NotFound, "%s: there are no *.car in it; directories in it are not looked into", place)
		}
	}
	return all, nil
}

// ofNode is a file or URL as the node is told of it.
func ofNode(name string) (string, error) {
	scheme, rest, other := strings.Cut(name, "://")
	switch scheme = strings.ToLower(scheme); {
	case name == "":
		return "", fault.New(fault.Invalid, "the name of a file is empty")
	case name == "-":
		return "", fault.New(fault.Invalid, "-: the node cannot read standard input; name a file or a URL")
	case other && (scheme == "http" || scheme == "https"):
		return scheme + "://" + rest, nil
	case other && scheme == "file":
		u, err := url.Parse(name)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return "", fault.New(fault.Invalid, "%q: names no file of this machine; file:///path does", name)
		}
		return filepath.Clean(u.Path), nil
	case other && scheme != "" && !strings.ContainsAny(scheme, "/."):
		return "", fault.New(fault.Invalid, "%q: CARs are read from files and from http:// and https:// addresses", name)
	}
	path, err := filepath.Abs(name)
	return path, fault.Mark(fault.Invalid, err)
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// importing is what becomes of the CARs of one command line.
type importing struct {
	call   *call
	cl     *client.Client
	detach bool
	bar    *progress

	all, made, known, failed, begun int
	kind                            fault.Kind // of what failed first
	read, total                     int64      // bytes, as far as the CARs' sizes are known
	sized                           map[string]bool
}

// window is how many imports a command has under way at the node: enough that
// it never waits for the command, few enough that ^C leaves few behind.
const window = 64

func (b *importing) run(ctx context.Context, i *pieceImportCmd, places []string) error {
	b.bar = b.call.progress(b.label(), 0)
	defer func() { b.bar.done() }()
	b.sized = map[string]bool{}
	for _, p := range places {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			b.total += info.Size()
			b.sized[p] = true
		}
	}
	var waiting []client.Import
	for len(places) > 0 || len(waiting) > 0 {
		if len(places) > 0 && len(waiting) < window {
			im, err := b.begin(ctx, i, places[0])
			if err != nil {
				return b.broke(err, len(waiting))
			}
			places = places[1:]
			if im.ID != 0 {
				waiting = append(waiting, im)
			}
			continue
		}
		if err := b.follow(ctx, waiting[0]); err != nil {
			return b.broke(err, len(waiting))
		}
		waiting = waiting[1:]
	}
	return b.sum()
}

// begin asks for one import. That the node refuses it is the fate of this CAR,
// not of the others; then the import has no id.
func (b *importing) begin(ctx context.Context, i *pieceImportCmd, place string) (client.Import, error) {
	if !utf8.ValidString(place) {
		return client.Import{}, b.refused(place, fault.New(fault.Invalid, "its name is no UTF-8, as the API needs; rename it, or link to it"))
	}
	im, err := b.cl.ImportPiece(ctx, client.NewImport{Place: place, Copy: i.Copy, PieceCID: i.PieceCID, Root: i.Root})
	var answered *client.Error
	if errors.As(err, &answered) && (answered.Status == 400 || answered.Status == 422 || answered.Status == 409) {
		return client.Import{}, b.refused(place, err)
	}
	if err == nil {
		b.begun++
	}
	return im, err
}

func (b *importing) refused(place string, err error) error {
	b.failing(kindOf(err))
	return b.tell(importedPiece{Import: client.Import{Place: place, State: "failed", Reason: err.Error(), FaultKind: kindOf(err).String()}})
}

func (b *importing) failing(kind fault.Kind) {
	if b.failed++; b.failed == 1 {
		b.kind = kind
	}
}

// follow waits for one import and tells what became of it.
func (b *importing) follow(ctx context.Context, im client.Import) error {
	im, err := b.wait(ctx, im)
	if err != nil {
		return err
	}
	out := importedPiece{Import: im}
	if im.Piece != 0 {
		p, err := b.cl.Piece(ctx, fmt.Sprint(im.Piece))
		if err != nil {
			return err
		}
		out.Made = &p
	}
	switch {
	case im.State == "failed":
		b.failing(fault.KindNamed(im.FaultKind))
	case out.Made != nil && im.Known:
		b.known++
	case out.Made != nil:
		b.made++
	}
	return b.tell(out)
}

// tell prints what became of one CAR.
func (b *importing) tell(out importedPiece) error {
	b.bar.hide()
	b.bar.describe(b.label())
	if b.call.global.JSON {
		return b.call.printJSON(out)
	}
	place := plain(out.Place)
	var err error
	switch {
	case out.State == "failed" && (strings.HasPrefix(out.Reason, out.Place) || strings.HasPrefix(out.Reason, "import "+out.Place)):
		_, err = fmt.Fprintf(b.call.err, "firth: %s\n", plain(strings.TrimPrefix(out.Reason, "import ")))
	case out.State == "failed":
		_, err = fmt.Fprintf(b.call.err, "firth: %s: %s\n", place, plain(out.Reason))
	case out.Made == nil:
		_, err = fmt.Fprintf(b.call.out, "%s  import %d is %s\n", place, out.ID, out.State)
	default:
		how := "new"
		if out.Known {
			how = "known before"
		}
		_, err = fmt.Fprintf(b.call.out, "%s  %s  (piece %d, %s, %s, %s)\n", place, out.Made.PieceCID, out.Made.ID, how, size(out.Made.CARSize), plural(out.Made.Blocks, "block"))
		if err == nil && out.Note != "" {
			_, err = fmt.Fprintf(b.call.err, "note: %s: %s\n", place, plain(out.Note))
		}
	}
	return err
}

func (b *importing) label() string {
	if b.all == 1 {
		return "reading"
	}
	return fmt.Sprintf("reading, %d of %d CARs done", b.made+b.known+b.failed, b.all)
}

// sum tells what became of many, and fails if something of them did.
func (b *importing) sum() error {
	if b.all > 1 && !b.call.global.JSON && !b.detach {
		b.bar.hide()
		if _, err := fmt.Fprintf(b.call.err, "%s: %d new, %d known before, %d failed\n", plural(int64(b.all), "CAR"), b.made, b.known, b.failed); err != nil {
			return err
		}
	}
	switch {
	case b.failed == 0:
		return nil
	case b.all == 1 && !b.call.global.JSON:
		return fault.Mark(b.kind, errTold)
	}
	return fault.New(b.kind, "%d of %s did not become pieces", b.failed, plural(int64(b.all), "CAR"))
}

// broke ends a command that cannot go on; what the node was asked for it does.
func (b *importing) broke(err error, waiting int) error {
	if errors.Is(err, context.Canceled) {
		return fault.New(fault.Unavailable, "interrupted; the node goes on with %s that it was asked for, `firth piece imports` shows them, `firth piece cancel ID` ends one", plural(int64(waiting), "import"))
	}
	return err
}

// wait asks the node until the import is over, at once and then ever less often.
func (b *importing) wait(ctx context.Context, im client.Import) (client.Import, error) {
	var seen int64
	told, pause := "", 5*time.Millisecond
	for !b.detach {
		var err error
		if im, err = b.cl.Import(ctx, im.ID); err != nil {
			return im, err
		}
		if im.Size > 0 && !b.sized[im.Place] {
			b.total += im.Size
			b.sized[im.Place] = true
		}
		b.read, seen = b.read+max(im.DoneBytes-seen, 0), max(seen, im.DoneBytes)
		b.bar.to(b.total, b.read)
		if im.State == "done" || im.State == "failed" {
			break
		}
		if told, err = b.stuck(im, told); err != nil {
			return im, err
		}
		select {
		case <-ctx.Done():
			return im, ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 300*time.Millisecond)
	}
	return im, nil
}

// stuck says once why an import waits for another attempt.
func (b *importing) stuck(im client.Import, told string) (string, error) {
	if im.State != "waiting" || im.Reason == "" || im.NextAttempt == nil || b.call.global.JSON {
		return told, nil
	}
	text := fmt.Sprintf("%s (attempt %d came to nothing, the next is %s)", plain(im.Reason), im.Attempts, relative(im.NextAttempt.Round(time.Second)))
	key := fmt.Sprint(im.ID, im.Attempts)
	if key == told {
		return told, nil
	}
	b.bar.hide()
	_, err := fmt.Fprintf(b.call.err, "note: %s\n", text)
	return key, err
}

type pieceCancelCmd struct {
	IDs []int64 `arg:"" name:"id" help:"Ids of imports, from firth piece imports."`
}

func (p *pieceCancelCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		for _, id := range p.IDs {
			im, err := cl.CancelImport(ctx, id)
			if err != nil {
				return err
			}
			if err := call.tellCancelled(im); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *call) tellCancelled(im client.Import) error {
	if c.global.JSON {
		return c.printJSON(im)
	}
	_, err := fmt.Fprintf(c.out, "%s  import %d is cancelled\n", plain(im.Place), im.ID)
	return err
}

type pieceImportsCmd struct {
	newest
	State string `help:"Only those in this state: waiting, running, done or failed." enum:",waiting,running,done,failed" default:"" placeholder:"STATE"`
}

func (l *pieceImportsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tSTATE\tREAD\tSIZE\tPIECE\tASKED FOR\tPLACE",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Import, error] {
			return cl.Imports(ctx, client.ImportFilter{State: l.State})
		},
		func(im client.Import) []any {
			made, all := "-", "-"
			if im.Piece != 0 {
				made = fmt.Sprint(im.Piece)
			}
			if im.Size > 0 {
				all = size(im.Size)
			}
			place := im.Place
			if im.Reason != "" {
				place += ": " + strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(im.Reason, "import "), im.Place), ": ")
			}
			return []any{im.ID, im.State, size(im.DoneBytes), all, made, relative(im.CreatedAt), place}
		})
}
