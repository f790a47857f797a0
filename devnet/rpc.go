package devnet

import (
	"log/slog"
	"net/http"
)

// newRPC serves a ledger as a Lotus node does, under /rpc/v0 and /rpc/v1.
func newRPC(l *Ledger, log *slog.Logger) http.Handler {
	return http.NotFoundHandler()
}
