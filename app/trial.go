package app

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
	"github.com/firth-project/firth/devnet"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/deal"
)

// TrialConfig says what to try.
type TrialConfig struct {
	Home      string // an empty directory
	Providers int
	Copies    int
	Log       io.Writer // errors of the node
}

// Trial is a node and a local Filecoin network in one process, introduced to
// each other: the providers are in the index, a funded wallet is in the
// keystore, and one policy wants every piece kept.
type Trial struct {
	API   string // URL
	Token string // of an admin

	network *devnet.Network
	stop    context.CancelFunc
	ended   chan error
}

// The pace of a trial. A network of our own has no reason to be slow.
const (
	trialEpoch      = 200 * time.Millisecond
	trialStartDelay = 100_000 // epochs, five and a half hours
	trialDuration   = 518_400 // epochs, the shortest deal the network allows: 180 days
	trialSilence    = 10 * time.Minute
	trialDrain      = 100 * time.Millisecond // nobody will go on with what a job was doing
)

// StartTrial starts both and returns when they are ready.
func StartTrial(ctx context.Context, c TrialConfig) (_ *Trial, err error) {
	if _, err := os.Stat(filepath.Join(c.Home, "firth.db")); err == nil {
		return nil, fault.New(fault.Conflict, "home %s: has a node's data already; a trial needs an empty directory", c.Home)
	}
	cfg := Default()
	cfg.Home = c.Home
	cfg.Listen.API = "127.0.0.1:0"
	cfg.Gateway.Access = AccessPublic // a browser has no token, and all is on loopback
	cfg.Chain.Finality = 5
	cfg.Deal.Interval, cfg.Deal.Silence, cfg.Deal.Backoff = time.Second, trialSilence, 2*time.Second
	cfg.Log.Level = "error"
	log, err := NewLogger(cfg.Log, c.Log)
	if err != nil {
		return nil, err
	}
	t := &Trial{ended: make(chan error, 1)}
	t.network, err = devnet.Start(ctx, devnet.Config{
		Home: filepath.Join(c.Home, "devnet"), Providers: c.Providers, Epoch: trialEpoch, Log: log,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Stop())
		}
	}()
	info := t.network.Info()
	cfg.Chain.RPC = info.RPC
	node, err := open(ctx, cfg, log, trialDrain)
	if err != nil {
		return nil, err
	}
	t.API, t.Token = node.APIURL(), node.FirstToken()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	go func() { t.ended <- node.Run(running) }()
	if err := node.introduce(ctx, info, c.Copies); err != nil {
		return nil, err
	}
	return t, nil
}

// introduce makes a node know a devnet.
func (a *App) introduce(ctx context.Context, info devnet.Info, copies int) error {
	key, err := wallet.Import([]byte(info.Wallets[0].Key))
	if err != nil {
		return err
	}
	if err := a.keys.Add(key); err != nil {
		return err
	}
	for _, p := range info.Providers {
		if _, err := a.providers.Add(ctx, p.ID); err != nil {
			return err
		}
	}
	_, err = a.deals.CreatePolicy(ctx, account.DefaultProject, deal.Policy{
		Name: "everything", Copies: copies, Wallet: info.Wallets[0].Address,
		DurationEpochs: trialDuration, StartDelayEpochs: trialStartDelay,
	})
	return err
}

// Wait lets the node go on until ctx ends.
func (t *Trial) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-t.ended:
		t.ended <- err
		return err
	}
}

// Stop ends the node, then the network.
func (t *Trial) Stop() error {
	var err error
	if t.stop != nil {
		t.stop()
		err = <-t.ended
	}
	return errors.Join(err, t.network.Close())
}
