package devnet

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/firth-project/firth/base/fault"
)

// maxAdvance is the longest single jump of the clock by HTTP: ten years.
const maxAdvance = 10 * 365 * 2880

// control is the operator's door, beside the chain's RPC: what Network's methods
// do, for other processes. It has no lock; the RPC listens on loopback unless
// told otherwise, and forms of a web page cannot reach it, because every change
// wants a header no form sends.
//
//	GET  /devnet/info
//	POST /devnet/advance?epochs=10
//	POST /devnet/fault?provider=f01001&fault=slow%2Bwrong-bytes
//	POST /devnet/import?provider=f01000&deal=UUID   body: the data of an offline deal
func (n *Network) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devnet/info", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(n.Info()) // a broken connection is the reader's to notice
	})
	for name, change := range map[string]func(*http.Request) error{
		"advance": n.controlAdvance, "fault": n.controlFault, "import": n.controlImport,
	} {
		mux.HandleFunc("POST /devnet/"+name, func(w http.ResponseWriter, r *http.Request) {
			err := fault.New(fault.Forbidden, "header %s is missing", controlHeader)
			if r.Header.Get(controlHeader) != "" {
				err = change(r)
			}
			if err != nil {
				http.Error(w, err.Error(), fault.KindOf(err).Status())
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	return mux
}

// controlHeader must be there, with any value, when something is to change.
const controlHeader = "X-Firth-Devnet"

func (n *Network) controlAdvance(r *http.Request) error {
	epochs, err := strconv.Atoi(r.URL.Query().Get("epochs"))
	if err != nil || epochs < 1 || epochs > maxAdvance {
		return fault.New(fault.Invalid, "epochs %q: want a number from 1 to %d", r.URL.Query().Get("epochs"), maxAdvance)
	}
	n.Advance(epochs)
	return nil
}

func (n *Network) controlFault(r *http.Request) error {
	f, err := ParseFault(r.URL.Query().Get("fault"))
	if err != nil {
		return err
	}
	return n.SetFault(r.URL.Query().Get("provider"), f)
}

func (n *Network) controlImport(r *http.Request) error {
	deal, err := uuid.Parse(r.URL.Query().Get("deal"))
	if err != nil {
		return fault.New(fault.Invalid, "deal: %w", err)
	}
	return n.Import(r.Context(), r.URL.Query().Get("provider"), deal, r.Body)
}
