package arch

import "slices"

// guest is a foreign library and the only places that may know it. Tests are
// held to the same table: a test that needs another's guest is in the wrong
// package.
type guest struct {
	lib string   // import path prefix, whole elements
	in  []string // package folders; "flow/store" is every store*.go of flow
	why string
}

// guests stay where they belong, so that replacing one is changing one folder.
var guests = []guest{
	{"github.com/libp2p", []string{"base/p2p", "base/node", "base/mk12", "devnet"}, "the network is known to its own mechanisms only"},
	{"github.com/libp2p/go-libp2p/core/peer", []string{"base/p2p", "base/node", "base/mk12", "base/chain", "devnet"}, "a peer's address is a value that the chain tells"},
	{"github.com/libp2p/go-libp2p/core/crypto", []string{"base/p2p", "base/node", "base/mk12", "base/indexdag", "devnet"}, "an IPNS name is a libp2p key"},
	{"github.com/uptrace/bun", []string{"base/db", "base/job", "base/event", "flow/store"}, "SQL lives in stores"},
	{"github.com/pressly/goose", []string{"base/db"}, "migrations are run in one place"},
	{"modernc.org/sqlite", []string{"base/db"}, "engines differ in one place"},
	{"github.com/jackc/pgx", []string{"base/db", "base/job", "base/event"}, "engines differ in one place"},
	{"github.com/riverqueue", []string{"base/job"}, "job is a narrow port over River"},
	{"riverqueue.com/riverui", []string{"base/job", "front/web"}, "job is a narrow port over River"},
	{"github.com/danielgtaylor/huma", []string{"front/api"}, "huma serves /v1; foreign doors are plain net/http"},
	{"github.com/ipfs/boxo/gateway", []string{"front/gateway", "devnet"}, "one gateway of ours, one of the local network"},
	{"github.com/ipfs/boxo/ipns", []string{"base/indexdag"}, "names of indexes"},
	{"github.com/ipfs/boxo/path", []string{"base/indexdag"}, "names of indexes"},
	{"github.com/ipfs/boxo/verifcid", []string{"base/block", "base/dag", "base/node", "base/indexdag", "front/gateway", "devnet"}, "which hashes prove anything"},
	{"github.com/ipfs/boxo", []string{"base/block", "base/dag", "base/node", "front/gateway", "devnet", "bench"}, "IPLD stops at base"},
	{"github.com/ipld/go-car", []string{"base/dag", "devnet", "bench"}, "IPLD stops at base"},
	{"github.com/ipfs/go-unixfsnode", []string{"base/dag", "base/node", "devnet", "bench"}, "IPLD stops at base"},
	{"github.com/filecoin-project/go-jsonrpc", []string{"base/chain", "devnet"}, "Filecoin RPC stops at chain"},
	{"github.com/filecoin-project/go-fil-commp-hashhash", []string{"base/commp", "bench"}, "the peer is an oracle, never in the product"},
	{"github.com/filecoin-project/go-data-segment", []string{"base/commp"}, "the peer is an oracle, never in the product"},
	{"github.com/minio/minio-go", []string{"base/blob/s3", "base/blob/blobtest"}, "S3 stops at blob"},
	{"github.com/aws/aws-sdk-go-v2/aws/transport/http", []string{"base/blob/s3", "base/source", "front/s3"}, "how long a bucket's server wants to be left alone is in its answer"},
	{"github.com/aws", []string{"base/blob/s3", "base/source/sourcetest", "front/s3"}, "S3 stops at blob and its door"},
	{"github.com/rclone/rclone", []string{"base/source"}, "source hides where datasets come from"},
	{"github.com/versity/versitygw", []string{"front/s3", "base/source/sourcetest"}, "one S3 door, and the same server behind tests of sources"},
	{"github.com/tus/tusd", []string{"front/api"}, "resumable upload is a route of the API"},
	{"github.com/nats-io", []string{"base/event/bridge"}, "the database is the log; NATS is a bridge"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "commands are parsed in cmd"},
	{"github.com/schollz/progressbar", []string{"cmd"}, "only the command line has a terminal"},
	{"github.com/knadh/koanf", []string{"app"}, "one struct of configuration"},
	{"github.com/thejerf/suture", []string{"app"}, "app supervises"},
}

// unwanted is never imported, by product code or tests.
var unwanted = []struct{ lib, why string }{
	{"github.com/filecoin-project/lotus", "we speak the protocol; lotus brings cgo and half of its node"},
	{"github.com/filecoin-project/boost", "we speak the protocol; boost brings lotus"},
	{"github.com/filecoin-project/filecoin-ffi", "cgo stays off"},
	{"github.com/rclone/rclone/backend/all", "name the backends that are needed"},
	{"google.golang.org/grpc", "roles meet in the database, the blob store and the job queue, never by RPC"},
	{"gorm.io", "bun is the one query builder"},
	{"github.com/pkg/errors", "base/fault is the one vocabulary of errors"},
	{"C", "cgo stays off"},
}

// foreignersAtHome: each guest only in its rooms. The longest prefix that
// matches decides, so boxo/gateway is judged by its own line.
func foreignersAtHome(m *module) []finding {
	return m.imports(func(f *file, p string) bool {
		g, ok := guestOf(p)
		return ok && !slices.ContainsFunc(g.in, func(place string) bool { return at(f, place) })
	})
}

func guestOf(p string) (best guest, ok bool) {
	for _, g := range guests {
		if under(p, g.lib) && len(g.lib) > len(best.lib) {
			best, ok = g, true
		}
	}
	return best, ok
}

func at(f *file, place string) bool {
	if place == "flow/store" {
		return floorOf(f.in.rel) == "flow" && (f.test || isStore(f))
	}
	return under(f.in.rel, place)
}

// unwantedStayOut: libraries that never enter the house.
func unwantedStayOut(m *module) []finding {
	return m.imports(func(_ *file, p string) bool {
		for _, u := range unwanted {
			if under(p, u.lib) {
				return true
			}
		}
		return false
	})
}
