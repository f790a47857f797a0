package arch

import (
	"fmt"
	"slices"
	"strings"
)

// floor is a top folder of the module. An import from one floor to another is
// allowed when the table says so, whatever lies between them: skipping floors
// is fine, climbing is not.
type floor struct {
	name  string
	holds string   // drawn in the picture
	sees  []string // floors its product code may import, itself aside
	tests []string // floors its tests may import besides
}

// floors is the house from the roof down.
var floors = []floor{
	{"cmd", "the binary; one file per command noun", []string{"app", "front", "flow", "base", "client", "devnet"}, nil},
	{"app", "composition: Config, New, the role table, Run", []string{"front", "flow", "base", "client", "devnet"}, nil},
	{"front", "doors: how people and programs come in; front itself is the doorman", []string{"flow", "base", "client"}, []string{"devnet"}},
	{"flow", "the business, in the order data moves", []string{"base"}, []string{"devnet"}},
	{"devnet", "a Filecoin network in one process", []string{"base"}, nil},
	{"base", "mechanisms; each would make sense in another product", nil, nil},
	{"client", "the public Go client and the wire types", nil, nil},
	{"bench", "benchmarks against named peers", []string{"app", "front", "flow", "base", "client", "devnet"}, nil},
	{"test", "scenarios: all roles in one process, roles apart, kill -9", []string{"app", "front", "flow", "base", "client", "devnet"}, nil},
	{"internal", "these rules", nil, nil},
}

// room is a noun: a folder below front, flow or base, with everything in it.
type room struct {
	floor, name, holds string
}

// rooms is every noun there may be. A new one is a reviewed line.
var rooms = []room{
	{"front", "api", "native JSON API under /v1, Pinning Service API, events"},
	{"front", "compat", "foreign routes: estuary, edge, singularity"},
	{"front", "gateway", "IPFS gateway, /piece, /n"},
	{"front", "s3", "S3 API"},
	{"front", "web", "embedded web page"},

	{"flow", "account", "User, Project, Token, limits"},
	{"flow", "content", "Content, Directory, Tag, Name, Pin, Bucket"},
	{"flow", "dataset", "Dataset, Preparation: source → scan → chunk"},
	{"flow", "piece", "Plan → CAR → CommP; index; piece bytes; receipts"},
	{"flow", "provider", "facts, observations, score, criteria, calculator"},
	{"flow", "deal", "Deal, Policy, reconciler, markets, tracker"},
	{"flow", "retrieval", "find, fetch, verify, restore; prober"},
	{"flow", "snapshot", "captures of the Filecoin chain"},
	{"flow", "node", "the list of running processes and their roles"},

	{"base", "commp", "piece commitment, proofs"},
	{"base", "sha256x", "many SHA-256 at once"},
	{"base", "blob", "bytes by key"},
	{"base", "block", "block store: segments and index"},
	{"base", "dag", "UnixFS build and read, CAR read and write"},
	{"base", "indexdag", "where the files of a dataset are: index DAG, get by path"},
	{"base", "pack", "files into CARs: CommP and index in one pass"},
	{"base", "p2p", "libp2p host, identity, streams"},
	{"base", "node", "the importable IPFS node"},
	{"base", "source", "where datasets come from"},
	{"base", "fetch", "what an URL names, resumed where it broke"},
	{"base", "mk12", "deal protocol mk1.2: messages, client, server half"},
	{"base", "mk20", "deal protocol mk20"},
	{"base", "chain", "Filecoin JSON-RPC, head following, messages"},
	{"base", "wallet", "keys, signing, keystore"},
	{"base", "db", "one handle over SQLite and PostgreSQL"},
	{"base", "job", "durable work, enqueued in a transaction"},
	{"base", "event", "append-only log, replay by position"},
	{"base", "fault", "the kinds of error"},
}

// arrow allows one room to import another of its own floor.
type arrow struct {
	floor, from, to, why string
}

// arrows is every sideways import of product code. Tests may look sideways
// freely: Go forbids the cycles, and the floors forbid the climbing.
var arrows = []arrow{
	{"flow", "content", "piece", "contents become pieces through buckets"},
	{"flow", "dataset", "piece", "chunks become pieces"},
	{"flow", "snapshot", "piece", "snapshots become pieces"},
	{"flow", "deal", "piece", "every deal is about a piece"},
	{"flow", "deal", "provider", "deals choose among providers"},
	{"flow", "retrieval", "deal", "deals say who holds a piece"},
	{"flow", "retrieval", "piece", "pieces say where bytes lie"},

	{"base", "dag", "block", "nodes are blocks"},
	{"base", "indexdag", "dag", "an index says where DAGs are"},
	{"base", "indexdag", "commp", "pieces go by CIDs of two versions"},
	{"base", "pack", "dag", "leaves and nodes are blocks of files, laid into a CAR"},
	{"base", "pack", "commp", "a piece is named by its commitment"},
	{"base", "pack", "sha256x", "leaves are hashed many at once"},
	{"base", "block", "blob", "segments may live in an object store"},
	{"base", "node", "dag", "the node serves DAGs"},
	{"base", "node", "block", "the node serves blocks"},
	{"base", "node", "p2p", "the node is a libp2p host"},
	{"base", "mk12", "p2p", "mk1.2 runs on libp2p streams"},
	{"base", "mk20", "wallet", "mk20 requests are signed"},
	{"base", "wallet", "chain", "wallets sign the chain's messages"},
	{"base", "job", "db", "jobs are rows"},
	{"base", "event", "db", "events are rows"},
}

func floorOf(rel string) string {
	first, _, _ := strings.Cut(rel, "/")
	return first
}

// roomOf returns the noun a package belongs to; "" for a package that is its
// whole floor (app, client, and front itself, the doorman).
func roomOf(rel string) string {
	parts := strings.Split(rel, "/")
	if len(parts) < 2 || !slices.Contains([]string{"front", "flow", "base"}, parts[0]) {
		return ""
	}
	return parts[1]
}

// doorOf is roomOf for front, where each foreign API below compat is a door.
func doorOf(rel string) string {
	if rest, ok := strings.CutPrefix(rel, "front/compat/"); ok {
		return "compat/" + floorOf(rest)
	}
	return roomOf(rel)
}

func findFloor(name string) (floor, bool) {
	i := slices.IndexFunc(floors, func(f floor) bool { return f.name == name })
	if i < 0 {
		return floor{}, false
	}
	return floors[i], true
}

// mayStandBeside reports whether from may import to, rooms of the same floor.
func mayStandBeside(on, from, to string) bool {
	return from == to || on == "base" && to == "fault" ||
		slices.ContainsFunc(arrows, func(a arrow) bool { return a.floor == on && a.from == from && a.to == to })
}

// knownPlaces: a package stands on a floor, and below front, flow and base in
// a room of the table.
func knownPlaces(m *module) (out []finding) {
	for _, p := range m.pkgs {
		if _, ok := findFloor(floorOf(p.rel)); !ok {
			out = append(out, finding{p.rel, fmt.Sprintf("%q is no floor of the house", floorOf(p.rel))})
			continue
		}
		r := roomOf(p.rel)
		known := slices.ContainsFunc(rooms, func(x room) bool { return x.floor == floorOf(p.rel) && x.name == r })
		if r != "" && !known {
			out = append(out, finding{p.rel, fmt.Sprintf("%s has no room %q", floorOf(p.rel), r)})
		}
	}
	return out
}

// edge is one import of ours by ours.
type edge struct {
	f        *file
	from, to string
	at       string
}

func (m *module) edges() (out []edge) {
	for _, f := range m.files(func(*file) bool { return true }) {
		for _, i := range f.imports {
			if to, ok := ours(i.path); ok && to != f.in.rel {
				out = append(out, edge{f, f.in.rel, to, m.at(i.pos)})
			}
		}
	}
	return out
}

func (e edge) finding() finding { return finding{e.at, e.from + " imports " + e.to} }

// downward: arrows between floors go down.
func downward(m *module) (out []finding) {
	for _, e := range m.edges() {
		from, ok := findFloor(floorOf(e.from))
		to := floorOf(e.to)
		if !ok || from.name == to || from.name == "client" || to == "internal" {
			continue
		}
		if !slices.Contains(from.sees, to) && (!e.f.test || !slices.Contains(from.tests, to)) {
			out = append(out, e.finding())
		}
	}
	return out
}

// sideways: inside flow and base exactly the arrows of the table.
func sideways(m *module) (out []finding) {
	for _, e := range m.edges() {
		on := floorOf(e.from)
		if e.f.test || on != floorOf(e.to) || on != "flow" && on != "base" {
			continue
		}
		if !mayStandBeside(on, roomOf(e.from), roomOf(e.to)) {
			out = append(out, e.finding())
		}
	}
	return out
}

// doors: a door may import the doorman and nothing else of front; the doorman
// imports no door.
func doors(m *module) (out []finding) {
	for _, e := range m.edges() {
		if floorOf(e.from) != "front" || floorOf(e.to) != "front" || e.to == "front" {
			continue
		}
		if doorOf(e.from) != doorOf(e.to) {
			out = append(out, e.finding())
		}
	}
	return out
}

// clientAlone: the client imports the standard library only, so that it can be
// used without anything of ours.
func clientAlone(m *module) (out []finding) {
	return m.imports(func(f *file, p string) bool {
		to, mine := ours(p)
		return under(f.in.rel, "client") && !standard(p) && !(mine && under(to, "client"))
	})
}

// commpAlone: the commitment engine knows no other package of ours.
func commpAlone(m *module) []finding {
	return m.imports(func(f *file, p string) bool {
		to, mine := ours(p)
		return !f.test && mine && under(f.in.rel, "base/commp") && !under(to, "base/commp")
	})
}

// archUnseen: these rules are imported by none.
func archUnseen(m *module) []finding {
	return m.imports(func(f *file, p string) bool {
		to, mine := ours(p)
		return mine && under(to, "internal") && !under(f.in.rel, "internal")
	})
}

// storesChosenOnce: which blob store holds the bytes is a decision of app.
func storesChosenOnce(m *module) []finding {
	return m.imports(func(f *file, p string) bool {
		to, mine := ours(p)
		if !mine || f.test || suite(f.in.rel) || under(f.in.rel, "app") || under(f.in.rel, to) {
			return false
		}
		return under(to, "base/blob/disk") || under(to, "base/blob/s3")
	})
}

// imports lists the imports that bad picks out.
func (m *module) imports(bad func(f *file, path string) bool) (out []finding) {
	for _, f := range m.files(func(*file) bool { return true }) {
		for _, i := range f.imports {
			if bad(f, i.path) {
				out = append(out, finding{m.at(i.pos), f.in.rel + " imports " + shorten(i.path)})
			}
		}
	}
	return out
}

func shorten(p string) string {
	if rel, ok := ours(p); ok {
		return rel
	}
	return p
}
