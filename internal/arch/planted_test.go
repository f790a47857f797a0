package arch

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// planted is a tree that breaks one rule: files by name, and the place the rule
// must find.
type planted struct {
	rule  string
	at    string
	files map[string]string
}

// imp is a file of a package that imports others: "base/db" is ours.
func imp(pkg string, paths ...string) string {
	var b strings.Builder
	b.WriteString("// Package " + pkg + " is planted.\npackage " + pkg + "\n")
	for _, p := range paths {
		if _, mine := findFloor(floorOf(p)); mine {
			p = modulePath + "/" + p
		}
		b.WriteString("import _ \"" + p + "\"\n")
	}
	return b.String()
}

func src(pkg, body string) string {
	return "// Package " + pkg + " is planted.\npackage " + pkg + "\n" + body
}

var plants = []planted{
	{"known places", "pkg/thing", map[string]string{"pkg/thing/doc.go": imp("thing")}},
	{"known places", "base/cache", map[string]string{"base/cache/doc.go": imp("cache")}},
	{"known places", "flow/wallet", map[string]string{"flow/wallet/doc.go": imp("wallet")}},

	{"arrows go down", "base/db/doc.go:3", map[string]string{"base/db/doc.go": imp("db", "flow/piece")}},
	{"arrows go down", "flow/deal/doc.go:3", map[string]string{"flow/deal/doc.go": imp("deal", "front")}},
	{"arrows go down", "flow/deal/deal_test.go:3", map[string]string{"flow/deal/doc.go": imp("deal"), "flow/deal/deal_test.go": imp("deal", "app")}},
	{"arrows go down", "flow/deal/doc.go:3", map[string]string{"flow/deal/doc.go": imp("deal", "devnet")}},
	{"arrows go down", "front/api/doc.go:3", map[string]string{"front/api/doc.go": imp("api", "app")}},
	{"arrows go down", "devnet/doc.go:3", map[string]string{"devnet/doc.go": imp("devnet", "flow/deal")}},
	{"arrows go down", "base/chain/x_test.go:3", map[string]string{"base/chain/doc.go": imp("chain"), "base/chain/x_test.go": imp("chain", "devnet")}},

	{"arrows go sideways by the table", "flow/piece/doc.go:3", map[string]string{"flow/piece/doc.go": imp("piece", "flow/deal")}},
	{"arrows go sideways by the table", "flow/provider/doc.go:3", map[string]string{"flow/provider/doc.go": imp("provider", "flow/account")}},
	{"arrows go sideways by the table", "base/blob/disk/doc.go:3", map[string]string{"base/blob/disk/doc.go": imp("disk", "base/block")}},
	{"arrows go sideways by the table", "base/chain/doc.go:3", map[string]string{"base/chain/doc.go": imp("chain", "base/wallet")}},

	{"doors do not know each other", "front/api/doc.go:3", map[string]string{"front/api/doc.go": imp("api", "front/gateway")}},
	{"doors do not know each other", "front/doc.go:3", map[string]string{"front/doc.go": imp("front", "front/api")}},
	{"doors do not know each other", "front/compat/edge/doc.go:3", map[string]string{"front/compat/edge/doc.go": imp("edge", "front/compat/estuary")}},

	{"client stands alone", "client/doc.go:3", map[string]string{"client/doc.go": imp("client", "base/fault")}},
	{"client stands alone", "client/doc.go:3", map[string]string{"client/doc.go": imp("client", "github.com/ipfs/go-cid")}},
	{"commp stands alone", "base/commp/doc.go:3", map[string]string{"base/commp/doc.go": imp("commp", "base/fault")}},
	{"arch is unseen", "app/doc.go:3", map[string]string{"app/doc.go": imp("app", "internal/arch")}},
	{"app chooses the store", "flow/piece/doc.go:3", map[string]string{"flow/piece/doc.go": imp("piece", "base/blob/disk")}},

	{"foreign libraries at home", "flow/deal/doc.go:3", map[string]string{"flow/deal/doc.go": imp("deal", "github.com/libp2p/go-libp2p/core/host")}},
	{"foreign libraries at home", "base/chain/doc.go:3", map[string]string{"base/chain/doc.go": imp("chain", "github.com/libp2p/go-libp2p")}},
	{"foreign libraries at home", "flow/piece/service.go:3", map[string]string{"flow/piece/doc.go": imp("piece"), "flow/piece/service.go": imp("piece", "github.com/uptrace/bun")}},
	{"foreign libraries at home", "base/dag/doc.go:3", map[string]string{"base/dag/doc.go": imp("dag", "github.com/ipfs/boxo/gateway")}},
	{"foreign libraries at home", "front/doc.go:3", map[string]string{"front/doc.go": imp("front", "github.com/danielgtaylor/huma/v2")}},
	{"unwanted libraries stay out", "base/chain/doc.go:3", map[string]string{"base/chain/doc.go": imp("chain", "github.com/filecoin-project/lotus/api")}},
	{"unwanted libraries stay out", "base/commp/doc.go:3", map[string]string{"base/commp/doc.go": imp("commp", "C")}},
	{"unwanted libraries stay out", "base/source/doc.go:3", map[string]string{"base/source/doc.go": imp("source", "github.com/rclone/rclone/backend/all")}},

	{"plain names", "base/dag/dag_utils.go", map[string]string{"base/dag/doc.go": imp("dag"), "base/dag/dag_utils.go": imp("dag")}},
	{"plain names", "base/dag/types", map[string]string{"base/dag/types/doc.go": imp("types")}},
	{"plain names", "base/dag/doc.go", map[string]string{"base/dag/doc.go": imp("unixfs")}},

	{"one word a thing", "flow/provider/doc.go:3", map[string]string{"flow/provider/doc.go": "// Package provider is planted.\npackage provider\ntype MinerID int64 // planted\n"}},
	{"one word a thing", "flow/account/doc.go:3", map[string]string{"flow/account/doc.go": "// Package account is planted.\npackage account\ntype t struct { X string `json:\"api_key\"` }\n"}},
	{"one word a thing", "flow/account/doc.go:3", map[string]string{"flow/account/doc.go": "// Package account is planted.\npackage account\ntype T struct { APIKeys []string } // planted\n"}},
	{"one word a thing", "flow/content/migrations/00110_content.sql:2", map[string]string{"flow/content/migrations/00110_content.sql": "-- +goose Up\nCREATE TABLE content_staging_zone (id TEXT);\n"}},
	{"one word a thing", "base/wallet/doc.go:3", map[string]string{"base/wallet/doc.go": "// Package wallet is planted.\npackage wallet\nfunc ForMiner() {} // planted\n"}},

	{"no init", "base/db/doc.go:3", map[string]string{"base/db/doc.go": src("db", "func init() {}\n")}},
	{"no init", "base/db/x_test.go:3", map[string]string{"base/db/doc.go": imp("db"), "base/db/x_test.go": src("db", "func init() {}\n")}},
	{"no sleep", "base/db/x_test.go:4", map[string]string{"base/db/doc.go": imp("db"), "base/db/x_test.go": src("db", "import \"time\"\nfunc f() { time.Sleep(1) }\n")}},
	{"the clock is given", "flow/deal/service.go:4", map[string]string{"flow/deal/doc.go": imp("deal"), "flow/deal/service.go": src("deal", "import clock \"time\"\nvar t = clock.Now()\n")}},
	{"the clock is given", "flow/deal/doc.go:3", map[string]string{"flow/deal/doc.go": imp("deal", "crypto/rand")}},
	{"no panic", "base/db/doc.go:3", map[string]string{"base/db/doc.go": src("db", "func f() { panic(1) }\n")}},
	{"one exit", "base/db/doc.go:4", map[string]string{"base/db/doc.go": src("db", "import \"os\"\nfunc f() { os.Exit(1) }\n")}},
	{"one exit", "base/db/doc.go:3", map[string]string{"base/db/doc.go": src("db", "import _ \"log\"\n")}},
	{"quiet", "base/db/doc.go:4", map[string]string{"base/db/doc.go": src("db", "import \"log/slog\"\nfunc f() { slog.Info(\"x\") }\n")}},
	{"plain errors", "base/db/doc.go:3", map[string]string{"base/db/doc.go": src("db", "const x = \"failed to open\"\n")}},
	{"no mutable globals", "base/db/doc.go:4", map[string]string{"base/db/doc.go": src("db", "var open int\nfunc f() { open++ }\n")}},
	{"no mutable globals", "base/db/b.go:3", map[string]string{"base/db/doc.go": src("db", "var byName map[string]int\n"), "base/db/b.go": src("db", "func f() { byName[\"x\"] = 1 }\n")}},

	{"every package speaks", "base/db", map[string]string{"base/db/db.go": imp("db")}},
	{"every package speaks", "base/db", map[string]string{"base/db/doc.go": "// About the database.\npackage db\n"}},
	{"every name speaks", "base/db/doc.go:3", map[string]string{"base/db/doc.go": src("db", "func Open() {}\n")}},
	{"every name speaks", "base/db/doc.go:5", map[string]string{"base/db/doc.go": src("db", "// DB is planted.\ntype DB struct{}\nfunc (d *DB) Tx() {}\n")}},
	{"small enough", "base/db/long.go", map[string]string{"base/db/doc.go": imp("db"), "base/db/long.go": src("db", strings.Repeat("\n", failFile))}},
	{"small enough", "base/db/long.go:3", map[string]string{"base/db/doc.go": imp("db"), "base/db/long.go": src("db", "func f() {"+strings.Repeat("\n", failFunc)+"}\n")}},

	{"tables bear their owner's name", "flow/piece/migrations/00120_piece.sql", map[string]string{"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE pieces (id TEXT);\n"}},
	{"tables are their owner's", "flow/deal/store.go:3", map[string]string{
		"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE piece_plan (id TEXT);\n",
		"flow/deal/doc.go":                      imp("deal"), "flow/deal/store.go": src("deal", "const q = `SELECT d.id FROM deal AS d\nLEFT JOIN piece_plan AS p ON TRUE`\n"),
	}},
	{"tables are their owner's", "flow/deal/store.go:3", map[string]string{
		"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE piece (id TEXT);\n",
		"flow/deal/doc.go":                      imp("deal"), "flow/deal/store.go": src("deal", "type row struct { X int `bun:\"table:piece,alias:p\"` }\n"),
	}},
	{"tables are their owner's", "flow/deal/migrations/00140_deal.sql", map[string]string{
		"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE piece (id TEXT);\n",
		"flow/deal/migrations/00140_deal.sql":   "-- +goose Up\nALTER TABLE piece ADD COLUMN x TEXT;\n",
	}},
	{"keys follow arrows", "flow/piece/migrations/00120_piece.sql", map[string]string{
		"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE piece (d BIGINT REFERENCES deal (id));\n",
		"flow/deal/migrations/00140_deal.sql":   "-- +goose Up\nCREATE TABLE deal (id BIGINT);\n",
	}},
	{"migrations in order", "flow/piece/migrations/00110_piece.sql", map[string]string{
		"flow/content/migrations/00110_content.sql": "-- +goose Up\n", "flow/piece/migrations/00110_piece.sql": "-- +goose Up\n",
	}},
	{"migrations in order", "flow/piece/migrations/1_piece.sql", map[string]string{"flow/piece/migrations/1_piece.sql": "-- +goose Up\n"}},
	{"portable SQL", "flow/piece/migrations/00120_piece.sql:3", map[string]string{"flow/piece/migrations/00120_piece.sql": "-- +goose Up\n-- not JSONB\nCREATE TABLE piece (x JSONB);\n"}},
	{"SQL in stores", "flow/deal/service.go:3", map[string]string{"flow/deal/doc.go": imp("deal"), "flow/deal/service.go": src("deal", "const q = `UPDATE deal SET state = ? WHERE id = ?`\n")}},
	{"SQL in stores", "flow/deal/service.go:3", map[string]string{"flow/deal/doc.go": imp("deal"), "flow/deal/service.go": src("deal", "func f(tx T) { tx.NewSelect() }\n")}},
}

// TestPlanted is the test of the test: each rule finds what is planted against
// it, at its place, and its sentence is what a reader sees.
func TestPlanted(t *testing.T) {
	tried := map[string]bool{}
	for _, p := range plants {
		t.Run(p.rule+"/"+p.at, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == p.rule })
			if i < 0 {
				t.Fatalf("no rule %q", p.rule)
			}
			tried[p.rule] = true
			found := rules[i].find(plant(t, p.files))
			if len(found) != 1 || found[0].at != p.at {
				t.Fatalf("found %v, want one at %s", found, p.at)
			}
			if text := report(rules[i], found); !strings.HasPrefix(text, rules[i].why) || !strings.Contains(text, p.at) {
				t.Errorf("report %q", text)
			}
		})
	}
	for _, r := range rules {
		if !tried[r.name] {
			t.Errorf("nothing is planted against %q", r.name)
		}
	}
}

func plant(t *testing.T, files map[string]string) *module {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	m, err := load(tree)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAllowed: what the rules allow on purpose stays allowed.
func TestAllowed(t *testing.T) {
	m := plant(t, map[string]string{
		"cmd/firth/main.go":                     "// Command firth is planted.\npackage main\nimport (\n_ \"" + modulePath + "/app\"\n_ \"github.com/alecthomas/kong\"\n\"os\"\n)\nfunc main() { os.Exit(1) }\n",
		"app/doc.go":                            imp("app", "base/blob/disk", "front/api", "devnet"),
		"front/api/doc.go":                      imp("api", "front", "client", "flow/deal", "github.com/danielgtaylor/huma/v2"),
		"front/doc.go":                          imp("front", "flow/account"),
		"flow/deal/doc.go":                      imp("deal", "flow/piece", "flow/provider", "base/chain"),
		"flow/deal/store.go":                    src("deal", "import _ \"github.com/uptrace/bun\"\nconst q = `UPDATE deal SET piece = ? WHERE id = ?`\n// piece: from the plan, update piece %d\nconst say = \"update piece %d: no row\"\n"),
		"flow/deal/deal_test.go":                src("deal", "import (\n_ \""+modulePath+"/devnet\"\n_ \""+modulePath+"/flow/content\"\n\"testing/synctest\"\n\"time\"\n)\nfunc f() { synctest.Test(nil, func() { time.Sleep(1) }) }\n"),
		"flow/deal/migrations/00140_deal.sql":   "-- +goose Up\nCREATE TABLE deal (id {{identity}}, piece BIGINT REFERENCES piece (id));\nCREATE UNIQUE INDEX deal_live ON deal (piece) WHERE state = 'active';\n",
		"flow/piece/migrations/00120_piece.sql": "-- +goose Up\nCREATE TABLE piece (id {{identity}});\n",
		"base/chain/doc.go":                     src("chain", "// MinerInfo is what Lotus calls it.\ntype MinerInfo struct{ Worker string }\n"),
		"base/chain/gen/main.go":                "//go:build ignore\n\npackage main\nfunc init() {}\n",
		"base/chain/cbor_gen.go":                "// Code generated by x. DO NOT EDIT.\n\npackage chain\n" + strings.Repeat("\n", 2000),
		"base/db/doc.go":                        src("db", "// New panics when it is told nonsense.\nfunc New(open int) { open = 1; panic(open) }\nvar none int\nfunc f() (none int) { none = 2; return none }\nfunc g() { panic(1) // cannot happen: g is not called\n}\nfunc h() { if r := recover(); r != nil { panic(r) } }\n"),
		"base/db/testdata/x/bad.go":             "package util\n",
		"base/blob/blobtest/blobtest.go":        imp("blobtest", "base/blob/disk"),
	})
	for _, r := range rules {
		if found := r.find(m); len(found) > 0 {
			t.Error(report(r, found))
		}
	}
}

func TestWordsOf(t *testing.T) {
	for name, want := range map[string]string{
		"APIKeys": "api keys", "APIKey": "api key", "MinerInfo": "miner info",
		"piece_plan": "piece plan", "StagingZone": "staging zone", "x": "x", "HTTPServer": "http server", "api-key": "api key",
	} {
		if got := strings.Join(wordsOf(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
