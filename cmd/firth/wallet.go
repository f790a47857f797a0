package main

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/firth-project/firth/app"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/wallet"
)

type walletCmd struct {
	New    walletNewCmd    `cmd:"" help:"Make a key."`
	Ls     walletLsCmd     `cmd:"" help:"List the addresses that can sign."`
	Import walletImportCmd `cmd:"" help:"Take in a key as lotus wallet export prints it."`
	Export walletExportCmd `cmd:"" help:"Print a key as lotus wallet import reads it. Whoever sees it has the key."`
	Rm     walletRmCmd     `cmd:"" help:"Delete a key for good."`
}

// walletAnswer is the JSON of one key that can sign.
type walletAnswer struct {
	Address string `json:"address"`
}

// keystore opens the keys of this command line's home.
func (c *call) keystore() (*wallet.Keystore, error) {
	cfg, _, err := c.load(nil)
	if err != nil {
		return nil, err
	}
	return app.OpenKeystore(cfg)
}

// keep stores a key and tells its address.
func (c *call) keep(k wallet.Key) error {
	keys, err := c.keystore()
	if err != nil {
		return err
	}
	if err := keys.Add(k); err != nil {
		return err
	}
	a := walletAnswer{wallet.FormatAddress(k.Address())}
	if c.global.JSON {
		return c.printJSON(a)
	}
	_, err = fmt.Fprintln(c.out, a.Address)
	return err
}

type walletNewCmd struct {
	Kind string `help:"secp256k1 (f1), bls (f3) or delegated (f410, an Ethereum account)." enum:"secp256k1,bls,delegated" default:"secp256k1"`
}

func (n *walletNewCmd) Run(call *call) error {
	k, err := wallet.Generate(wallet.Kind(n.Kind), rand.Reader)
	if err != nil {
		return err
	}
	return call.keep(k)
}

type walletLsCmd struct{}

func (walletLsCmd) Run(call *call) error {
	keys, err := call.keystore()
	if err != nil {
		return err
	}
	if call.global.JSON {
		return call.array(func(emit func(any) error) error {
			for _, a := range keys.List() {
				if err := emit(walletAnswer{wallet.FormatAddress(a)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, a := range keys.List() {
		fmt.Fprintln(call.out, wallet.FormatAddress(a))
	}
	if len(keys.List()) == 0 {
		fmt.Fprintln(call.err, "(none; make one with `firth wallet new`)")
	}
	return nil
}

type walletImportCmd struct {
	File string `arg:"" help:"File that holds the exported key, or - for standard input." default:"-"`
}

// exportedSize bounds what is read as a key; an export has some 160 characters.
const exportedSize = 8 << 10

func (i *walletImportCmd) Run(call *call) error {
	in := call.stdin()
	if i.File != "-" {
		f, err := openRegular(i.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, exportedSize))
	if err != nil {
		return fault.Wrap(err, "read %s", i.File)
	}
	k, err := wallet.Import(text)
	if err != nil {
		return fault.Wrap(err, "import %s", i.File)
	}
	return call.keep(k)
}

// walletRef names one key.
type walletRef struct {
	Address string `arg:"" help:"Address of a key in the keystore."`
}

type walletExportCmd struct{ walletRef }

// exportedKey is the JSON contract of `firth wallet export`.
type exportedKey struct {
	Address string `json:"address"`
	Key     string `json:"key"` // Lotus export: hex of JSON
}

func (e *walletExportCmd) Run(call *call) error {
	addr, err := wallet.ParseAddress(e.Address)
	if err != nil {
		return err
	}
	keys, err := call.keystore()
	if err != nil {
		return err
	}
	text, err := keys.Export(addr)
	if err != nil {
		return err
	}
	if call.global.JSON {
		return call.printJSON(exportedKey{wallet.FormatAddress(addr), string(text)})
	}
	_, err = fmt.Fprintf(call.out, "%s\n", text)
	return err
}

type walletRmCmd struct {
	walletRef
	Force bool `help:"Delete it although there is no way back."`
}

func (r *walletRmCmd) Run(call *call) error {
	addr, err := wallet.ParseAddress(r.Address)
	if err != nil {
		return err
	}
	keys, err := call.keystore()
	if err != nil {
		return err
	}
	if _, err := keys.Export(addr); err != nil {
		return err
	}
	if !r.Force {
		return fault.New(fault.Conflict, "the key of %s would be gone for good, and what it owns with it; keep it with `firth wallet export`, then say --force", r.Address)
	}
	if err := keys.Remove(addr); err != nil {
		return err
	}
	return call.removed(wallet.FormatAddress(addr))
}
