package devnet

import "github.com/filecoin-project/go-state-types/abi"

// Timers says how many epochs each step of a deal takes once the one before is
// done. Zero is the default, a negative number no time at all.
type Timers struct {
	Publish abi.ChainEpoch // data verified → PublishStorageDeals sent; default 1
	Confirm abi.ChainEpoch // sent → confirmed; default 1
	Add     abi.ChainEpoch // confirmed → in a sector, indexed and announced; default 1
	Seal    abi.ChainEpoch // in a sector → proven, active on chain; default 2
	Finish  abi.ChainEpoch // proven → the provider is done with the deal; default 2
	Slash   abi.ChainEpoch // active → terminated, where the fault is set; default 1
}
