package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type getCmd struct {
	Ref      string `arg:"" help:"Id or CID of a content. With --from: INDEX[/PATH], where INDEX is the CID of a dataset's index, or the domain or IPNS name that leads to it."`
	Output   string `short:"o" help:"Where to write it; in an existing directory it gets the content's name. - writes a file to standard output." default:"." placeholder:"PATH"`
	Provider string `help:"Fetch it from this storage provider (f0…), or from any, instead of from the node." placeholder:"f0…|any"`
	Force    bool   `aliases:"overwrite" help:"Replace what is there."`
	fromFlags
	Range    string   `help:"With --from and -o -: only these bytes of a file, counted from 0, both ends included; 500- is all but the first 500." placeholder:"FIRST-LAST"`
	Identity []string `help:"With --from: file of the age key that opens an encrypted dataset." placeholder:"FILE"`
}

// Help says what kong prints below the arguments.
func (getCmd) Help() string {
	return `Every block is checked here against the content's CID before anything is written, and what is written
appears at once or not at all. Meanwhile the blocks wait in a folder beside it, so twice the size is needed.

With --from, no node is needed and no database: files of a dataset are got by their path in its index, such as
  firth get data.example/videos/one.mp4 -o . --from https://pieces.example,https://provider.example
  firth get bafyrei… -o copy --from /mnt/cars
-o is then a directory, made when it is absent: a file or directory is put into it under its own name, of the whole
dataset what is in it. Each file appears whole or not at all; those that are there and right are kept, so that the
same command goes on where it was interrupted. What could not be got is named and does not stop the rest.`
}

// gotten is the JSON contract of `firth get`.
type gotten struct {
	CID      string `json:"cid"`
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"` // of file content
	Files    int64  `json:"files"`
	Provider string `json:"provider,omitempty"` // "" when the node had it itself
}

func (g *getCmd) Run(call *call) error {
	if len(g.From) > 0 {
		return g.fetch(call)
	}
	if g.Range != "" {
		return fault.New(fault.Invalid, "--range is of files that are got by an index; name the places with --from")
	}
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		c, err := g.content(ctx, cl)
		if err != nil {
			return err
		}
		if g.Output == "-" {
			return g.print(ctx, call, cl, c)
		}
		path, err := g.target(c)
		if err != nil {
			return err
		}
		got, err := g.write(ctx, call, cl, c, path)
		if err != nil {
			return err
		}
		if call.global.JSON {
			return call.printJSON(got)
		}
		from := ""
		if got.Provider != "" {
			from = ", from provider " + plain(got.Provider)
		}
		_, err = fmt.Fprintf(call.out, "%s  (%s, %s, every block verified%s)\n", got.Path, plural(int(got.Files), "file"), size(got.Bytes), from)
		return err
	})
}

// content finds out what to get. Who names a CID gets the bytes of that CID,
// whatever the node says it is.
func (g *getCmd) content(ctx context.Context, cl *client.Client) (client.Content, error) {
	c, err := cl.Content(ctx, g.Ref)
	if err != nil {
		return c, err
	}
	if c.CID == "" {
		return c, fault.New(fault.Conflict, "content %d: has no bytes to get, it is %s", c.ID, state(c.State, c.Reason))
	}
	root, err := cid.Decode(c.CID)
	if err != nil {
		return c, fault.New(fault.Unavailable, "the node answered with %q, which is no CID (%w)", c.CID, err)
	}
	if asked, err := cid.Decode(g.Ref); err == nil && !bytes.Equal(asked.Hash(), root.Hash()) {
		return c, fault.New(fault.Unavailable, "asked for %s, the node answered with %s", asked, root)
	}
	return c, nil
}

// target is where the content will be.
func (g *getCmd) target(c client.Content) (string, error) {
	path := filepath.Clean(g.Output)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, fileName(c))
	} else if strings.HasSuffix(g.Output, "/") {
		return "", pathFault(g.Output, os.ErrNotExist)
	}
	if g.Force {
		return path, nil
	}
	return path, absent(path)
}

// fileName is the content's name where it can be one of a file, else its CID:
// the name came from elsewhere and must not choose the place.
func fileName(c client.Content) string {
	name := filepath.Base(filepath.Clean("/" + c.Name))
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || r == '\\' }
	if name == "/" || len(name) > 255 || strings.ContainsFunc(name, hidden) {
		return c.CID
	}
	return name
}

func (g *getCmd) write(ctx context.Context, call *call, cl *client.Client, c client.Content, path string) (gotten, error) {
	got := gotten{CID: c.CID, Path: path}
	err := g.receive(ctx, call, cl, c, filepath.Dir(path), &got, func(r received) error {
		whole := filepath.Join(r.temp, "whole")
		done, err := dag.Export(ctx, r.blocks, r.root, whole)
		if err != nil {
			return err
		}
		got.Bytes, got.Files = done.Bytes, done.Files+done.Symlinks // as a content counts them
		if g.Force {
			return replace(whole, path)
		}
		return place(whole, path)
	})
	return got, err
}

// print writes a file to standard output, after all of it was checked.
func (g *getCmd) print(ctx context.Context, call *call, cl *client.Client, c client.Content) error {
	return g.receive(ctx, call, cl, c, os.TempDir(), &gotten{}, func(r received) error {
		e, err := dag.Stat(ctx, r.blocks, r.root)
		if err != nil {
			return err
		}
		if e.Dir {
			return fault.New(fault.Invalid, "%s: is a directory, standard output takes one file; name a place with -o", c.CID)
		}
		f, _, err := dag.OpenFile(ctx, r.blocks, r.root)
		if err != nil {
			return err
		}
		defer f.Close()
		out := bufio.NewWriterSize(call.out, 1<<20)
		if _, err := out.ReadFrom(f); err != nil {
			return fault.Wrap(err, "write to standard output")
		}
		return fault.Wrap(out.Flush(), "write to standard output")
	})
}

// receive downloads and checks a content, and lets use have it.
func (g *getCmd) receive(ctx context.Context, call *call, cl *client.Client, c client.Content, dir string, got *gotten, use func(received) error) error {
	car, err := cl.ContentCAR(ctx, g.Ref, g.Provider)
	if err != nil {
		return err
	}
	defer car.Close()
	p := call.progress(plain(fileName(c)), c.Size)
	defer p.done()
	return receive(ctx, fromNode{p.reader(ctx, car)}, c.CID, dir, func(r received) error {
		p.done()
		got.Provider = car.Provider()
		return use(r)
	})
}
