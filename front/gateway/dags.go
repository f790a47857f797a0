package gateway

import (
	"net/http"
	"time"

	"github.com/ipfs/boxo/blockservice"
	blockstore "github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/gateway"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firth-project/firth/base/fault"
)

// maxTransfer bounds one answer. A CAR of 32 GiB over a line of 5 Mbit/s takes
// most of it.
const maxTransfer = 24 * time.Hour

// sandbox gives a stored document an origin of its own in a browser: it must
// not reach what the node's own pages keep there.
const sandbox = "sandbox allow-scripts allow-forms allow-popups allow-downloads"

// serveDAGs is the path gateway over local blocks (specs.ipfs.tech: path and
// trustless gateway; raw, CAR, ranges, directory listings).
func serveDAGs(blocks blockstore.Blockstore) (http.Handler, error) {
	held := blockstore.NewIdStore(blocks)
	backend, err := gateway.NewBlocksBackend(blockservice.New(held, offline.Exchange(held)))
	if err != nil {
		return nil, fault.Wrap(err, "make the path gateway")
	}
	serve := gateway.NewHandler(gateway.Config{
		DeserializedResponses: true,
		NoDNSLink:             true,
		MaxRequestDuration:    maxTransfer,
		MetricsRegistry:       prometheus.NewRegistry(), // not the process-wide one
	}, backend)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", sandbox)
		serve.ServeHTTP(w, r)
		if w.Header().Get("X-Stream-Error") != "" {
			// The header comes too late to be sent. Ending as usual would make a
			// CAR that lacks blocks look whole.
			panic(http.ErrAbortHandler) // net/http's way to break the connection off
		}
	}), nil
}
