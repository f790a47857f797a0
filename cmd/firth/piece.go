package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type pieceCmd struct {
	Ls   pieceLsCmd   `cmd:"" help:"List pieces."`
	Show pieceShowCmd `cmd:"" help:"Show one piece."`
	Get  pieceGetCmd  `cmd:"" help:"Get a piece's CAR, its commitment verified."`

	Import  pieceImportCmd  `cmd:"" help:"Let CARs that you have become pieces."`
	Imports pieceImportsCmd `cmd:"" help:"List imports: what is being read, and what became of it."`
	Cancel  pieceCancelCmd  `cmd:"" help:"End imports that are not over."`
	Verify  pieceVerifyCmd  `cmd:"" help:"Have the node read a piece again and name what of it is damaged; exit code 4 if something is."`
}

type pieceLsCmd struct {
	newest
	Plan   int64 `help:"Only those of this plan." placeholder:"ID"`
	Bucket int64 `help:"Only those of this bucket." placeholder:"ID"`
}

func (l *pieceLsCmd) Run(call *call) error {
	return list(call, l.newest, "ID\tCAR\tPADDED\tBLOCKS\tMADE\tPIECE CID",
		func(ctx context.Context, cl *client.Client) iter.Seq2[client.Piece, error] {
			return cl.Pieces(ctx, client.PieceFilter{Plan: l.Plan, Bucket: l.Bucket})
		},
		func(p client.Piece) []any {
			return []any{p.ID, size(p.CARSize), size(p.PaddedSize), p.Blocks, relative(p.CreatedAt), p.PieceCID}
		})
}

type pieceShowCmd struct {
	Ref string `arg:"" help:"Id or piece CID, version 1 or 2."`
}

func (s *pieceShowCmd) Run(call *call) error {
	return show(call, func(ctx context.Context, cl *client.Client) (client.Piece, error) { return cl.Piece(ctx, s.Ref) },
		func(p client.Piece) {
			cached := "no, made from the blocks when it is read"
			if p.Cached {
				cached = "yes"
			}
			call.facts(fact{"piece", p.ID}, fact{"piece CID", p.PieceCID}, fact{"piece CID v1", p.PieceCIDv1}, fact{"root", p.Root},
				fact{"CAR size", exactSize(p.CARSize)}, fact{"padded size", exactSize(p.PaddedSize)}, fact{"blocks", p.Blocks},
				fact{"CAR kept", cached}, fact{"made", p.CreatedAt})
		})
}

func exactSize(n int64) string { return fmt.Sprintf("%s (%d bytes)", size(n), n) }

type pieceVerifyCmd struct {
	Ref  string `arg:"" help:"Id or piece CID, version 1 or 2."`
	From string `help:"Compare a copy of it instead: a provider's URL, or a file." placeholder:"FILE|URL"`
}

func (v *pieceVerifyCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		w := call.waiting("reading the piece")
		check, err := v.check(ctx, cl)
		w.done()
		if err != nil {
			return err
		}
		if call.global.JSON {
			if err := call.printJSON(check); err != nil {
				return err
			}
		} else if err := v.print(call, check); err != nil {
			return err
		}
		if !check.OK {
			return fault.New(fault.Conflict, "piece %s: is damaged in %s", check.PieceCID, plural(int64(len(check.Damaged))+check.More, "place"))
		}
		return nil
	})
}

func (v *pieceVerifyCmd) check(ctx context.Context, cl *client.Client) (client.PieceCheck, error) {
	if v.From == "" {
		return cl.VerifyPiece(ctx, v.Ref)
	}
	from, err := ofNode(v.From)
	if err != nil {
		return client.PieceCheck{}, err
	}
	return cl.VerifyPieceCopy(ctx, v.Ref, from)
}

func (v *pieceVerifyCmd) print(call *call, check client.PieceCheck) error {
	if check.OK {
		_, err := fmt.Fprintf(call.out, "%s  every byte is that of the commitment\n", check.PieceCID)
		return err
	}
	for _, d := range check.Damaged {
		if _, err := fmt.Fprintf(call.out, "%d bytes at %d: %s\n", d.Length, d.Offset, d.Reason); err != nil {
			return err
		}
		for _, path := range d.Paths {
			if _, err := fmt.Fprintf(call.out, "  file  %q\n", path); err != nil {
				return err
			}
		}
		for _, block := range d.Blocks {
			if _, err := fmt.Fprintf(call.out, "  block %s\n", block); err != nil {
				return err
			}
		}
		if d.More > 0 {
			if _, err := fmt.Fprintf(call.out, "  and %s more\n", plural(d.More, "block")); err != nil {
				return err
			}
		}
	}
	return nil
}

type pieceGetCmd struct {
	Ref    string `arg:"" help:"Id or piece CID, version 1 or 2."`
	Output string `short:"o" help:"File to write; default is the piece CID with .car. - is standard output, where a wrong commitment shows only at the end." placeholder:"FILE"`
	Force  bool   `help:"Replace what is there."`
}

// gottenPiece is the JSON contract of `firth piece get`.
type gottenPiece struct {
	PieceCID string `json:"piece_cid"`
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
}

func (g *pieceGetCmd) Run(call *call) error {
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Piece(ctx, g.Ref)
		if err != nil {
			return err
		}
		if _, _, err := commp.ParseCID(g.Ref); err == nil && g.Ref != p.PieceCID && g.Ref != p.PieceCIDv1 {
			return fault.New(fault.Unavailable, "asked for piece %s, the node answered with %s", g.Ref, p.PieceCID)
		}
		if g.Output == "-" {
			_, err := g.copy(ctx, call, cl, p, call.out)
			return err
		}
		path := g.Output
		if path == "" {
			path = p.PieceCID + ".car"
		}
		n, err := g.write(ctx, call, cl, p, path)
		if err != nil {
			return err
		}
		if call.global.JSON {
			return call.printJSON(gottenPiece{p.PieceCID, path, n})
		}
		_, err = fmt.Fprintf(call.out, "%s  (%s, commitment verified)\n", path, size(n))
		return err
	})
}

// write writes the piece to path, at once or not at all.
func (g *pieceGetCmd) write(ctx context.Context, call *call, cl *client.Client, p client.Piece, path string) (n int64, err error) {
	if !g.Force {
		if err := absent(path); err != nil {
			return 0, err
		}
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), ".firth-get-*")
	if err != nil {
		return 0, pathFault(filepath.Dir(path), err)
	}
	defer os.RemoveAll(temp)
	whole := filepath.Join(temp, "whole")
	f, err := os.Create(whole)
	if err != nil {
		return 0, pathFault(whole, err)
	}
	n, err = g.copy(ctx, call, cl, p, f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	switch {
	case err != nil:
		return n, err
	case g.Force:
		return n, replace(whole, path)
	}
	return n, place(whole, path)
}

// copy streams the piece into w and checks its commitment at the end.
func (g *pieceGetCmd) copy(ctx context.Context, call *call, cl *client.Client, p client.Piece, w io.Writer) (int64, error) {
	body, err := cl.PieceBytes(ctx, p.PieceCID, 0, -1)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	bar := call.progress("piece", p.CARSize)
	defer bar.done()
	hash := commp.New()
	n, err := io.Copy(io.MultiWriter(w, hash), fromNode{bar.reader(ctx, body)})
	if err != nil {
		return n, fault.Wrap(err, "get piece %s", p.PieceCID)
	}
	sum, err := hash.SumPadded(uint64(max(p.PaddedSize, 0)))
	if err != nil {
		return n, fault.Wrap(err, "get piece %s", p.PieceCID)
	}
	if got := sum.CIDv2.String(); got != p.PieceCID || sum.CIDv1.String() != p.PieceCIDv1 {
		return n, fault.New(fault.Unavailable, "piece %s: the bytes that came have the commitment %s; `firth piece verify` names what is damaged where they come from", p.PieceCID, got)
	}
	return n, nil
}
