package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/event"
	"github.com/firth-project/firth/base/job"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/content"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/deal"
	"github.com/firth-project/firth/flow/node"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/flow/provider"
	"github.com/firth-project/firth/flow/retrieval"
	"github.com/firth-project/firth/front"
)

// Nodes lists the running processes; node.Service does.
type Nodes interface {
	List(ctx context.Context) ([]node.Node, error)
}

// Services are what the door opens to. All fields are needed.
type Services struct {
	Account    *account.Service
	Contents   *content.Service
	Pieces     *piece.Service
	Datasets   *dataset.Service
	Deals      *deal.Service
	Providers  *provider.Service
	Retrievals *retrieval.Service
	Jobs       *job.Client
	Events     *event.Log // this process runs it
	Nodes      Nodes
	Doorman    *front.Doorman
	Blocks     dag.Getter // what contents are downloaded from
	Log        *slog.Logger
	Version    string
	Stopping   <-chan struct{} // closed when the node begins to end, which streams without an end must not delay; nil is never
}

// New makes the door. The handler answers everything under /v1/.
func New(s Services) http.Handler {
	d := newDoor(s)
	d.contentRoutes()
	d.uploadRoute()
	d.downloadRoute()
	d.bucketRoutes()
	d.pieceRoutes()
	d.datasetRoutes()
	d.dealRoutes()
	d.policyRoutes()
	d.providerRoutes()
	d.retrievalRoutes()
	d.eventRoute()
	d.jobRoutes()
	d.nodeRoutes()
	d.tokenRoutes()
	d.describe()
	return s.Doorman.Guard(d.mux)
}
