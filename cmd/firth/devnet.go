package main

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/devnet"
)

type devnetCmd struct {
	Providers int           `help:"Storage providers to run." default:"3"`
	RPC       string        `name:"rpc" help:"Address the chain listens at; default is a free port." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Epoch     time.Duration `help:"Length of an epoch; mainnet's is 30s." default:"1s"`
	Faults    string        `help:"Misbehaviour by provider, like 2:reject,3:lie. Known: reject, stall, slow, lie, never-publish, slash, vanish, wrong-bytes." placeholder:"N:FAULT,…"`
	Seed      string        `help:"Keys and ids follow from it; the same seed gives the same network." placeholder:"TEXT"`
}

// Help says what kong prints below the arguments.
func (devnetCmd) Help() string {
	return `Runs until it is stopped. Providers answer the deal protocol for real, fetch the data, check it, and
serve it back; the chain lives in memory. With --json one line tells how to reach all of it. Without
--home the data lie in a temporary folder, which is removed at the end.`
}

func (d *devnetCmd) Run(call *call) (err error) {
	if d.Epoch <= 0 {
		return fault.New(fault.Invalid, "--epoch %s: must be above zero", d.Epoch)
	}
	if d.Providers < 1 {
		return fault.New(fault.Invalid, "--providers %d: a network has at least one", d.Providers)
	}
	faults, err := devnet.ParseFaults(d.Faults)
	if err != nil {
		return fault.Wrap(err, "--faults")
	}
	network, err := devnet.Start(call.ctx, devnet.Config{
		Home: call.global.Home, Providers: d.Providers, RPC: d.RPC, Epoch: d.Epoch, Seed: d.Seed, Faults: faults,
		Log: slog.New(slog.NewTextHandler(call.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fault.New(fault.Conflict, "--rpc %s: is in use by another program; stop it, or choose another address", d.RPC)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, network.Close()) }()
	if call.global.JSON {
		err = call.printJSON(network.Info())
	} else {
		err = d.tell(call, network.Info())
	}
	if err == nil {
		<-call.ctx.Done()
	}
	return err
}

// tell greets the person who started the network.
func (d *devnetCmd) tell(call *call, n devnet.Info) error {
	fmt.Fprintf(call.out, "A Filecoin network of your own is running, an epoch every %s.\n\n  chain (JSON-RPC)  %s/rpc/v1\n", d.Epoch, n.RPC)
	for _, p := range n.Providers {
		fmt.Fprintf(call.out, "  provider %-7s  %s\n", p.ID, p.HTTP)
	}
	fmt.Fprintln(call.out, "\nWallets with money, for this network only:")
	for _, w := range n.Wallets {
		fmt.Fprintf(call.out, "  %s\n    key  %s\n", w.Address, w.Key)
	}
	_, err := fmt.Fprintf(call.out, `
Point a node at it in another terminal:
  echo %s | firth wallet import
  firth serve --rpc %s
  firth provider add %s
Stop with Ctrl-C.
`, n.Wallets[0].Key, n.RPC, n.Providers[0].ID)
	return err
}
