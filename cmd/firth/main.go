// Command firth stores data on IPFS and Filecoin and can prove it.
//
// One file here is one noun of the command line. Commands that speak with a
// node do so through package client; serve, try and devnet start one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal kills: the first restores the default action, after a
	// moment, as timeout(1) and others send one signal twice.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	signal.Ignore(syscall.SIGPIPE) // it would end us with nothing put away
	code := run(ctx, os.Args[1:], os.Environ(), stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// cli is the whole command line; each field is a noun or a verb in its file.
type cli struct {
	global

	Try      tryCmd      `cmd:"" help:"Show the whole life of your data on this machine: store it, make deals on a local Filecoin network, get it back, verify it."`
	Serve    serveCmd    `cmd:"" help:"Run a node."`
	Devnet   devnetCmd   `cmd:"" help:"Run a local Filecoin network."`
	Add      addCmd      `cmd:"" help:"Store files and directories."`
	Ls       lsCmd       `cmd:"" help:"List what is stored."`
	Show     showCmd     `cmd:"" help:"Show one content and where its copies are."`
	Get      getCmd      `cmd:"" help:"Get a content back, every block verified."`
	Rm       rmCmd       `cmd:"" help:"Remove contents."`
	Pack     packCmd     `cmd:"" help:"Turn a directory, or what is in a bucket or on a server, into pieces. Needs no node."`
	Dataset  datasetCmd  `cmd:"" help:"Datasets: sources that become pieces in place."`
	Bucket   bucketCmd   `cmd:"" help:"Buckets: what is gathered before it becomes a piece."`
	Piece    pieceCmd    `cmd:"" help:"Pieces: what deals are made about."`
	Deal     dealCmd     `cmd:"" help:"Deals with storage providers."`
	Policy   policyCmd   `cmd:"" help:"Policies: how many copies to keep, with whom."`
	Provider providerCmd `cmd:"" help:"Storage providers this node knows."`
	Wallet   walletCmd   `cmd:"" help:"Keys that sign deals, kept encrypted in the home."`
	Token    tokenCmd    `cmd:"" help:"Tokens that let programs in."`
	Job      jobCmd      `cmd:"" help:"Background work of the node."`
	Node     nodeCmd     `cmd:"" help:"Processes of this node."`
	Commp    commpCmd    `cmd:"" help:"Compute a piece commitment."`
	Config   configCmd   `cmd:"" help:"Show the configuration, and where each value comes from."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// global are the flags every command takes.
type global struct {
	Home   string `help:"Directory that holds all a node keeps." placeholder:"DIR"`
	Config string `help:"Configuration file; default is config.yaml in the home." placeholder:"FILE" name:"config-file"`
	JSON   bool   `help:"Print JSON." name:"json"`
	API    string `help:"Address of the node to speak with; default is the node of the home." env:"FIRTH_API" placeholder:"URL"`
	Token  string `help:"Token to show that node." env:"FIRTH_TOKEN" placeholder:"TOKEN"`
}

// output is where a command prints. When that fails, such as when `head` has
// read enough, the command ends as if interrupted: what it says has no reader.
type output struct {
	io.Writer
	lost context.CancelCauseFunc
}

func (o output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil {
		o.lost(outputError{err})
	}
	return n, err
}

// outputError is why output was lost.
type outputError struct{ error }

// unread is the exit code when the reader of the output went away: what a shell
// makes of SIGPIPE.
const unread = 128 + int(syscall.SIGPIPE)

// call is one run of one command.
type call struct {
	stdio
	global  global
	environ []string
	ctx     context.Context
}

// stdin reads standard input until it ends or the command is interrupted. A
// read of a pipe or terminal cannot be broken off, so a goroutine does it that
// may still be there when the process goes.
func (c *call) stdin() io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, c.in)
		w.CloseWithError(err)
	}()
	context.AfterFunc(c.ctx, func() { w.CloseWithError(c.ctx.Err()) })
	return r
}

// errTold ends a command whose failure was already told.
var errTold = errors.New("already told")

// run runs one command line and returns the exit code: 0, or the code of the
// error's kind.
func run(ctx context.Context, args, environ []string, io stdio) int {
	var c cli
	code := -1
	parser, err := kong.New(&c,
		kong.Name("firth"),
		kong.Description("Store data on IPFS and Filecoin, and prove it. Start with `firth try PATH`."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(io.out, io.err),
		kong.KindMapper(reflect.String, kong.MapperFunc(verbatim)),
		kong.Exit(func(n int) { code = n; panic(exited{}) }), // recovered in parse
	)
	if err != nil {
		fmt.Fprintln(io.err, "firth:", err)
		return fault.Internal.ExitCode()
	}
	kctx, err, done := parse(parser, args)
	if done {
		return code
	}
	if err != nil {
		fmt.Fprintf(io.err, "firth: %v\nRun `%s --help` for what there is.\n", err, reached(err))
		return fault.Invalid.ExitCode()
	}
	signalled := ctx
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	io.out = output{io.out, lost}
	err = kctx.Run(&call{stdio: io, global: c.global, environ: environ, ctx: ctx})
	if signalled.Err() != nil && errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "interrupted") {
		err = fault.New(fault.Unavailable, "interrupted")
	}
	var unwritten outputError
	if errors.As(context.Cause(ctx), &unwritten) {
		err = unwritten.error
	}
	if errors.Is(err, syscall.EPIPE) {
		return unread
	}
	return exit(io, c.global.JSON, err)
}

// verbatim takes an argument as it is. Kong's own way leads through JSON, and
// replaces bytes that are no UTF-8, which names of files may hold.
func verbatim(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

// reached is the command that a command line got to before it went wrong.
func reached(err error) string {
	name := "firth"
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		for _, step := range wrong.Context.Path {
			if step.Command != nil {
				name += " " + step.Command.Name
			}
		}
	}
	return name
}

// exited unwinds kong after it printed help.
type exited struct{}

func parse(parser *kong.Kong, args []string) (kctx *kong.Context, err error, done bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
			done = true
		}
	}()
	kctx, err = parser.Parse(args)
	return kctx, err, false
}

// exit tells an error and turns it into an exit code.
func exit(io stdio, asJSON bool, err error) int {
	if err == nil {
		return 0
	}
	kind := kindOf(err)
	var skipped skippedError
	switch {
	case errors.As(err, &skipped):
		fmt.Fprintln(io.err, "firth:", skipped)
		return skippedCode
	case errors.Is(err, errTold):
	case asJSON:
		_ = json.NewEncoder(io.err).Encode(map[string]string{"kind": kind.String(), "error": err.Error()})
	default:
		fmt.Fprintln(io.err, "firth:", err)
	}
	return kind.ExitCode()
}

// kindOf also knows errors that a node answered.
func kindOf(err error) fault.Kind {
	var answered *client.Error
	if errors.As(err, &answered) {
		return fault.KindOfStatus(answered.Status)
	}
	return fault.KindOf(err)
}
