package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type pieceImportCmd struct {
	CARs     []string `arg:"" name:"car" help:"CAR files, directories of *.car, or URLs. Files are read by the node, where it runs."`
	Copy     bool     `help:"Copy the CARs into the blob store instead of reading them where they are."`
	PieceCID string   `help:"Piece CID the CAR has to have; of one CAR only." placeholder:"CID" name:"piece-cid"`
	Root     string   `help:"Root of the piece; default is the CAR's own." placeholder:"CID"`
	Detach   bool     `help:"Do not wait until the pieces are there."`
}

// importedPiece is the JSON contract of `firth piece import`, a line a CAR.
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
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		begun := make([]client.Import, 0, len(places))
		for _, p := range places {
			im, err := cl.ImportPiece(ctx, client.NewImport{Place: p, Copy: i.Copy, PieceCID: i.PieceCID, Root: i.Root})
			if err != nil {
				return err
			}
			begun = append(begun, im)
		}
		var failed []error
		for _, im := range begun {
			if err := i.follow(ctx, call, cl, im); err != nil {
				failed = append(failed, err)
			}
		}
		return errors.Join(failed...)
	})
}

// places are the CARs that are named, as the node finds them.
func (i *pieceImportCmd) places() ([]string, error) {
	var all []string
	for _, name := range i.CARs {
		place, err := ofNode(name)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(place)
		if err != nil || !info.IsDir() { // a file the node may see and this command not, or a URL
			all = append(all, place)
			continue
		}
		entries, err := os.ReadDir(place)
		if err != nil {
			return nil, pathFault(place, err)
		}
		before := len(all)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".car") && !e.IsDir() {
				all = append(all, filepath.Join(place, e.Name()))
			}
		}
		if len(all) == before {
			return nil, fault.New(fault.NotFound, "%s: there are no *.car in it", place)
		}
	}
	return slices.Compact(all), nil
}

// ofNode is a file or URL as the node is told of it.
func ofNode(name string) (string, error) {
	if isURL(name) {
		return name, nil
	}
	path, err := filepath.Abs(name)
	return path, fault.Mark(fault.Invalid, err)
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// follow waits for one import and prints what became of it.
func (i *pieceImportCmd) follow(ctx context.Context, call *call, cl *client.Client, im client.Import) error {
	if !i.Detach {
		var err error
		if im, err = i.wait(ctx, call, cl, im); err != nil {
			return err
		}
	}
	if im.State == "failed" {
		return fault.New(fault.Invalid, "%s", im.Reason)
	}
	out := importedPiece{Import: im}
	if im.Piece != 0 {
		p, err := cl.Piece(ctx, fmt.Sprint(im.Piece))
		if err != nil {
			return err
		}
		out.Made = &p
	}
	if call.global.JSON {
		return call.printJSON(out)
	}
	what := "import " + fmt.Sprint(im.ID) + " " + im.State
	if out.Made != nil {
		what = fmt.Sprintf("%s  (%s, %d blocks)", out.Made.PieceCID, size(out.Made.CARSize), out.Made.Blocks)
	}
	_, err := fmt.Fprintf(call.out, "%s  %s\n", plain(im.Place), what)
	return err
}

// wait asks the node until the import is over.
func (i *pieceImportCmd) wait(ctx context.Context, call *call, cl *client.Client, im client.Import) (client.Import, error) {
	bar := call.progress("reading", im.Size)
	defer func() { bar.done() }()
	sized := im.Size > 0
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var seen int64
	for im.State != "done" && im.State != "failed" {
		select {
		case <-ctx.Done():
			return im, ctx.Err()
		case <-tick.C:
		}
		var err error
		if im, err = cl.Import(ctx, im.ID); err != nil {
			return im, err
		}
		if !sized && im.Size > 0 {
			bar.done()
			bar, sized = call.progress("reading", im.Size), true
		}
		bar.add(max(im.DoneBytes-seen, 0))
		seen = max(seen, im.DoneBytes)
	}
	return im, nil
}
