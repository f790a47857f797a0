package main

import (
	"context"
	"fmt"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

type addCmd struct {
	Paths   []string `arg:"" sep:"none" name:"path" help:"Files and directories, each becomes one content; - is standard input."`
	Name    string   `help:"Name of the content; default is the path's last element." placeholder:"NAME"`
	Profile string   `help:"How bytes become blocks; default is the node's." placeholder:"PROFILE"`
}

// Help says what kong prints below the arguments.
func (addCmd) Help() string {
	return `A directory is stored with everything in it: hidden files too, empty directories, and symlinks as
symlinks, which are never followed (a symlink that is itself named is). Sockets and devices are refused.

A content is stored when its CID is printed. A file that changes while it is read ends the command with
an error that names it, and that content is not stored; those printed before are.`
}

func (a *addCmd) Run(call *call) error {
	if a.Name != "" && len(a.Paths) > 1 {
		return fault.New(fault.Invalid, "--name is for one path, there are %d; add them one by one", len(a.Paths))
	}
	sources, err := a.look()
	if err != nil {
		return err
	}
	return call.ask(func(ctx context.Context, cl *client.Client) error {
		for _, s := range sources {
			added, err := a.add(ctx, call, cl, s)
			if err != nil {
				return err
			}
			if err := a.tell(call, added); err != nil {
				return err
			}
		}
		return nil
	})
}

// look looks at all paths before any byte is sent.
func (a *addCmd) look() ([]source, error) {
	var sources []source
	stdin := 0
	for _, path := range a.Paths {
		if path == "-" {
			if stdin++; stdin > 1 {
				return nil, fault.New(fault.Invalid, "standard input can be read once, - is there twice")
			}
			sources = append(sources, source{path: path, name: "stdin"})
			continue
		}
		s, err := look(path)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func (a *addCmd) add(ctx context.Context, call *call, cl *client.Client, s source) (client.Content, error) {
	p := call.progress(plain(s.name), s.bytes)
	defer p.done()
	o := client.AddOptions{Profile: a.Profile}
	if s.path != "-" {
		return send(ctx, cl, s, a.Name, o, p)
	}
	name := a.Name
	if name == "" {
		name = s.name
	}
	return cl.AddFile(ctx, name, p.reader(ctx, call.stdin()), o)
}

// tell acknowledges one content: its JSON on a line, or what a person needs.
func (a *addCmd) tell(call *call, c client.Content) error {
	if call.global.JSON {
		return call.printJSON(c)
	}
	_, err := fmt.Fprintf(call.out, "%s  %s  (%s, %s)\n", c.CID, plain(c.Name), plural(int(c.Files), "file"), size(c.Size))
	return err
}
