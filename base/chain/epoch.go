package chain

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// EpochDuration is the length of an epoch on mainnet and Calibration.
const EpochDuration = 30 * time.Second

// Finality is the number of epochs after which a tipset is not expected to be
// reverted (chain finality of expected consensus).
const Finality abi.ChainEpoch = 900

// EpochAt returns the epoch that t falls into: negative before genesis.
func EpochAt(genesis time.Time, epoch time.Duration, t time.Time) abi.ChainEpoch {
	d := t.Sub(genesis)
	n := d / epoch
	if d%epoch < 0 {
		n--
	}
	return abi.ChainEpoch(n)
}

// TimeOf returns the start of an epoch, in UTC.
func TimeOf(genesis time.Time, epoch time.Duration, e abi.ChainEpoch) time.Time {
	return genesis.Add(time.Duration(e) * epoch).UTC()
}
