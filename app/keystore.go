package app

import (
	"path/filepath"

	"github.com/firth-project/firth/base/wallet"
)

// OpenKeystore opens the keys of the home that cfg names, with the secret that
// cfg gives or the home keeps. The node need not run, and may.
func OpenKeystore(cfg Config) (*wallet.Keystore, error) {
	secret, err := secretIn(cfg.Home, cfg.Secret)
	if err != nil {
		return nil, err
	}
	return openKeystore(cfg, secret)
}

func openKeystore(cfg Config, secret []byte) (*wallet.Keystore, error) {
	dir := cfg.Wallet
	if dir == "" {
		dir = filepath.Join(cfg.Home, "wallet")
	}
	return wallet.OpenKeystore(dir, secret)
}
