// Command gen writes the CBOR codecs of package mk12: maps keyed by Go field
// name, keys in canonical order. It is run by go generate in that package.
package main

import (
	"fmt"
	"os"

	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/mk12"
)

func main() {
	err := cbg.WriteMapEncodersToFile("cbor_gen.go", "mk12",
		mk12.DealParams{},
		mk12.Transfer{},
		mk12.DealResponse{},
		mk12.DealStatusRequest{},
		mk12.DealStatusResponse{},
		mk12.DealStatus{},
		mk12.AskRequest{},
		mk12.AskResponse{},
		mk12.SignedStorageAsk{},
		mk12.StorageAsk{},
		mk12.TransportsResponse{},
		mk12.Transport{},
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
