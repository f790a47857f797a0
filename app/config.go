package app

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"github.com/firth-project/firth/base/blob/s3"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/deal"
)

// Config is everything a node can be told. Each key is documented in its doc
// tag; `firth config` prints them with the value that holds and its origin.
type Config struct {
	Home      string `koanf:"home" doc:"directory that holds everything this node keeps; one process per home"`
	Roles     string `koanf:"roles" doc:"roles to run, comma-separated, or all"`
	Database  string `koanf:"database" doc:"sqlite:PATH or postgres://…; empty is SQLite in the home"`
	Blob      string `koanf:"blob" doc:"blob store: a directory, or s3://bucket/prefix?endpoint=URL&region=NAME&profile=NAME; empty is in the home. Nodes that share a database share this"`
	PublicURL string `koanf:"public_url" doc:"URL prefix under which providers reach this node's /piece; empty is the address of listen.gateway"`
	Wallet    string `koanf:"wallet" doc:"directory of the encrypted keys; empty is in the home. The API checks wallets there, the dealer signs with them"`
	Secret    string `koanf:"secret" secret:"true" doc:"signs piece links and unlocks the keystore; empty is a random one kept in the home. Nodes that share a database share this"`

	Listen  Listen  `koanf:"listen"`
	Gateway Gateway `koanf:"gateway"`
	Chain   Chain   `koanf:"chain"`
	Fetch   Fetch   `koanf:"fetch"`
	Bucket  Bucket  `koanf:"bucket"`
	S3      S3      `koanf:"s3"`
	Piece   Piece   `koanf:"piece"`
	CommP   CommP   `koanf:"commp"`
	Dataset Dataset `koanf:"dataset"`
	IPNS    IPNS    `koanf:"ipns"`
	Deal    Deal    `koanf:"deal"`
	Workers Workers `koanf:"workers"`
	Log     Log     `koanf:"log"`
}

// Listen says where the doors are.
type Listen struct {
	API     string `koanf:"api" doc:"address of the API door"`
	Gateway string `koanf:"gateway" doc:"address of the gateway and piece door; empty puts it on the API's address"`
	P2P     string `koanf:"p2p" doc:"multiaddr of the libp2p host, comma-separated"`
}

// Gateway says who may read.
type Gateway struct {
	Access    string `koanf:"access" doc:"token: reading needs a token or a piece link; public: anyone who reaches the address may read"`
	PieceRate int64  `koanf:"piece_rate" doc:"bytes a second of pieces that each client address may read; 0 is without limit"`
}

// Chain says which Filecoin node to ask.
type Chain struct {
	RPC      string `koanf:"rpc" doc:"Filecoin node's JSON-RPC URL, with or without /rpc/v1"`
	Token    string `koanf:"token" secret:"true" doc:"bearer token for chain.rpc"`
	Finality int64  `koanf:"finality" doc:"epochs to wait before a deal's end on chain is believed"`
}

// Fetch says where bytes may be fetched from.
type Fetch struct {
	Allow string `koanf:"allow" doc:"private networks that may be connected to for retrieval, comma-separated prefixes; loopback is let in when chain.rpc is on loopback"`
}

// Bucket says when gathered contents become a piece.
type Bucket struct {
	Size     int64         `koanf:"size" doc:"bytes at which a bucket is closed"`
	Age      time.Duration `koanf:"age" doc:"age at which a bucket is closed whatever its size"`
	Contents int           `koanf:"contents" doc:"contents at which a bucket is closed"`
}

// S3 says who this node is to S3 servers, for its blob store and for CARs that
// are exported to buckets.
type S3 struct {
	AccessKey string `koanf:"access_key" doc:"access key for buckets that name no profile; empty is AWS_ACCESS_KEY_ID, the shared credentials file or the machine's role"`
	SecretKey string `koanf:"secret_key" secret:"true" doc:"secret of s3.access_key"`
}

// Piece says how pieces are made.
type Piece struct {
	MaxSize int64 `koanf:"max_size" doc:"largest padded piece in bytes, a power of two"`
	MinSize int64 `koanf:"min_size" doc:"smallest padded piece in bytes, a power of two; smaller ones are padded up"`
	Cache   bool  `koanf:"cache" doc:"write each piece's CAR into the blob store instead of streaming it from the blocks"`

	URLTemplate string `koanf:"url_template" doc:"where providers fetch pieces instead of from this node, such as https://cdn.example/{piece_cid}.car; {piece_cid_v1} is known too, and a policy may name another. Nothing is asked there: the provider says when a piece is not"`
}

// CommP says how commitments are computed for others, and by others.
type CommP struct {
	Upstream string `koanf:"upstream" doc:"role commp: URL of the node whose imports are worked on"`
	Token    string `koanf:"token" secret:"true" doc:"role commp: a token of that node with the scope commp"`
	Parallel int    `koanf:"parallel" doc:"role commp: CARs side by side; memory is 22 MiB each, and 32 bytes for each 127 KiB of CAR"`
	Apart    bool   `koanf:"apart" doc:"leave reading CARs that are imported to nodes of role commp"`
}

// Dataset says how datasets are packed.
type Dataset struct {
	WorkDir    string `koanf:"work_dir" doc:"directory of preparations under way, of this process alone; empty is in the home"`
	Workers    int    `koanf:"workers" doc:"threads that pack one chunk, 17 MiB of memory each, 51 MiB of more than three; 0 is one more than processors"`
	Checkpoint int64  `koanf:"checkpoint" doc:"bytes of a piece between two points from which packing goes on after a stop"`
}

// IPNS says how names of datasets are published.
type IPNS struct {
	Routers  string        `koanf:"routers" doc:"delegated routers that records of published datasets are given to, comma-separated URLs such as https://delegated-ipfs.dev; empty: the gateway alone has them"`
	Validity time.Duration `koanf:"validity" doc:"how long a record is valid; it is signed again after a third of that, and daily"`
}

// Deal says how deals are kept.
type Deal struct {
	Interval time.Duration `koanf:"interval" doc:"how often the reconciler and tracker look without being told"`
	Silence  time.Duration `koanf:"silence" doc:"how long a provider may make no progress on a deal before it is replaced"`
	Backoff  time.Duration `koanf:"backoff" doc:"first wait before the same provider is offered the same piece again; doubles each time"`
}

// Workers says how many jobs run side by side.
type Workers struct {
	Light int `koanf:"light" doc:"jobs that only touch the database"`
	Net   int `koanf:"net" doc:"jobs that wait for others: proposals, status, retrieval"`
	Hash  int `koanf:"hash" doc:"jobs that read and hash: packing"`
}

// Log says how much is logged, to standard error.
type Log struct {
	Level  string `koanf:"level" doc:"debug, info, warn or error"`
	Format string `koanf:"format" doc:"text or json"`
}

// maxPackers is how many threads may pack one chunk.
const maxPackers = 1024

// GatewayAccess values.
const (
	AccessToken  = "token"
	AccessPublic = "public"
)

// Default returns the configuration of a node that was told nothing.
func Default() Config {
	home := ".firth"
	if dir, err := os.UserHomeDir(); err == nil {
		home = filepath.Join(dir, ".firth")
	}
	return Config{
		Home:    home,
		Roles:   AllRoles,
		Listen:  Listen{API: "127.0.0.1:8740", P2P: "/ip4/127.0.0.1/tcp/0"},
		Gateway: Gateway{Access: AccessToken},
		Chain:   Chain{RPC: "https://api.node.glif.io", Finality: 900},
		Bucket:  Bucket{Size: 16 << 30, Age: 48 * time.Hour, Contents: 50_000},
		Piece:   Piece{MaxSize: 32 << 30, MinSize: 256},
		CommP:   CommP{Parallel: 16},
		Dataset: Dataset{Checkpoint: 1 << 30},
		IPNS:    IPNS{Validity: 7 * 24 * time.Hour},
		Deal:    Deal{Interval: 30 * time.Second, Silence: 24 * time.Hour, Backoff: time.Minute},
		Workers: Workers{Light: 4, Net: 16, Hash: max(1, runtime.NumCPU()/2)},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// EnvPrefix starts every environment variable that sets a key:
// FIRTH_CHAIN_RPC sets chain.rpc.
const EnvPrefix = "FIRTH_"

// Setting is one key of the configuration as it holds.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // default, a file's path, an environment variable's name, or "flag"
	Doc    string `json:"doc"`
}

// Load merges defaults, the YAML file at path, the environment and flags, in
// that order. An empty path means config.yaml in the home, which may be
// missing. Unknown keys and values of the wrong type are Invalid and named.
func Load(path string, environ []string, flags map[string]any) (Config, []Setting, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(Default(), "koanf"), nil); err != nil {
		return Config{}, nil, fault.Wrap(err, "load the defaults")
	}
	known := keys(reflect.TypeFor[Config](), "")
	origin := map[string]string{}
	fromEnv := environment(known, environ)

	explicit := path != ""
	if !explicit {
		home := k.String("home")
		if v, ok := fromEnv["home"]; ok {
			home = v
		}
		if v, ok := flags["home"].(string); ok {
			home = v
		}
		path = filepath.Join(home, "config.yaml")
	}
	layer := koanf.New(".")
	if err := layer.Load(file.Provider(path), yaml.Parser()); err != nil {
		if explicit || !os.IsNotExist(err) {
			return Config{}, nil, fault.New(fault.Invalid, "configuration %s: %w", path, err)
		}
	}
	for _, key := range layer.Keys() {
		if _, ok := known[key]; !ok {
			return Config{}, nil, fault.New(fault.Invalid, "configuration %s: unknown key %q; `firth config` lists the known ones", path, key)
		}
		origin[key] = path
	}
	if err := k.Merge(layer); err != nil {
		return Config{}, nil, fault.New(fault.Invalid, "configuration %s: %w", path, err)
	}
	if err := k.Load(env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key := keyOfEnv(known, name)
			if key != "" {
				origin[key] = name
			}
			return key, value
		},
	}), nil); err != nil {
		return Config{}, nil, fault.New(fault.Invalid, "environment: %w", err)
	}
	for key, value := range flags {
		if err := k.Set(key, value); err != nil {
			return Config{}, nil, fault.New(fault.Invalid, "flag for %s: %w", key, err)
		}
		origin[key] = "flag"
	}

	var c Config
	if err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf"}); err != nil {
		return Config{}, nil, undecodable(err)
	}
	if err := c.validate(); err != nil {
		return Config{}, nil, err
	}
	return c, settings(k, known, origin), nil
}

// undecodable says on one line which values are of the wrong type.
func undecodable(err error) error {
	_, list, found := strings.Cut(err.Error(), "error(s):")
	if !found {
		list = err.Error()
	}
	return fault.New(fault.Invalid, "configuration: %s", strings.Join(strings.Fields(list), " "))
}

// validate refuses what could only fail later and less clearly.
func (c Config) validate() error {
	invalid := func(key, format string, args ...any) error {
		return fault.New(fault.Invalid, "configuration %s: %s", key, fmt.Sprintf(format, args...))
	}
	if c.Home == "" {
		return invalid("home", "is empty; name a directory")
	}
	if _, err := ParseRoles(c.Roles); err != nil {
		return err
	}
	for key, addr := range map[string]string{"listen.api": c.Listen.API, "listen.gateway": c.Listen.Gateway} {
		if addr == "" && key == "listen.gateway" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return invalid(key, "%q is no HOST:PORT", addr)
		}
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme == "" || u.Host == "" {
			return invalid("public_url", "%q is no URL like https://pieces.example.org", c.PublicURL)
		}
	}
	if !slices.Contains([]string{AccessToken, AccessPublic}, c.Gateway.Access) {
		return invalid("gateway.access", "%q is neither %s nor %s", c.Gateway.Access, AccessToken, AccessPublic)
	}
	if c.Gateway.PieceRate < 0 {
		return invalid("gateway.piece_rate", "%d is below 0", c.Gateway.PieceRate)
	}
	for key, n := range map[string]int64{"piece.max_size": c.Piece.MaxSize, "piece.min_size": c.Piece.MinSize} {
		if n < 128 || n&(n-1) != 0 || n > 64<<30 {
			return invalid(key, "%d is not a power of two from 128 bytes to 64 GiB", n)
		}
	}
	if c.Piece.MinSize > c.Piece.MaxSize {
		return invalid("piece.min_size", "%d is above piece.max_size %d", c.Piece.MinSize, c.Piece.MaxSize)
	}
	for key, n := range map[string]int64{
		"dataset.checkpoint": c.Dataset.Checkpoint,
		"bucket.size":        c.Bucket.Size, "bucket.age": int64(c.Bucket.Age), "bucket.contents": int64(c.Bucket.Contents),
		"deal.interval": int64(c.Deal.Interval), "deal.silence": int64(c.Deal.Silence), "deal.backoff": int64(c.Deal.Backoff),
		"workers.light": int64(c.Workers.Light), "workers.net": int64(c.Workers.Net), "workers.hash": int64(c.Workers.Hash),
	} {
		if n <= 0 {
			return invalid(key, "must be above zero")
		}
	}
	if s3.Names(c.Blob) {
		if _, err := s3.Parse(c.Blob); err != nil {
			return invalid("blob", "%v", err)
		}
	}
	if (c.S3.AccessKey == "") != (c.S3.SecretKey == "") {
		return invalid("s3.secret_key", "of this and s3.access_key only one is set; set both, or none")
	}
	if err := deal.Template(c.Piece.URLTemplate).Check(); err != nil {
		return invalid("piece.url_template", "%v", err)
	}
	if c.CommP.Parallel < 1 || c.CommP.Parallel > maxPackers {
		return invalid("commp.parallel", "%d is not between 1 and %d", c.CommP.Parallel, maxPackers)
	}
	if c.Dataset.Workers < 0 || c.Dataset.Workers > maxPackers {
		return invalid("dataset.workers", "%d is not between 0 and %d", c.Dataset.Workers, maxPackers)
	}
	if c.IPNS.Validity < time.Hour || c.IPNS.Validity > 365*24*time.Hour {
		return invalid("ipns.validity", "%s is not between 1h and 8760h, a year", c.IPNS.Validity)
	}
	if _, err := ipnsRouters(c); err != nil {
		return err
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		return err
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return invalid("log.format", "%q is neither text nor json", c.Log.Format)
	}
	return nil
}

// field is what the struct tags say of a key.
type field struct {
	doc    string
	secret bool
}

// keys flattens the tags of a config struct into dotted keys.
func keys(t reflect.Type, prefix string) map[string]field {
	all := map[string]field{}
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("koanf")
		if f.Type.Kind() == reflect.Struct {
			for k, v := range keys(f.Type, key+".") {
				all[k] = v
			}
			continue
		}
		all[key] = field{doc: f.Tag.Get("doc"), secret: f.Tag.Get("secret") == "true"}
	}
	return all
}

// keyOfEnv finds the key that an environment variable sets, "" when none does:
// dots and underscores are both underscores there.
func keyOfEnv(known map[string]field, name string) string {
	for key := range known {
		if name == EnvPrefix+strings.ToUpper(strings.ReplaceAll(key, ".", "_")) {
			return key
		}
	}
	return ""
}

// environment picks from environ what sets a key.
func environment(known map[string]field, environ []string) map[string]string {
	set := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if key := keyOfEnv(known, name); key != "" {
			set[key] = value
		}
	}
	return set
}

// settings lists every key in order, secrets hidden.
func settings(k *koanf.Koanf, known map[string]field, origin map[string]string) []Setting {
	list := make([]Setting, 0, len(known))
	for key, f := range known {
		s := Setting{Key: key, Value: fmt.Sprint(k.Get(key)), Origin: origin[key], Doc: f.doc}
		if s.Origin == "" {
			s.Origin = "default"
		}
		if f.secret && s.Value != "" {
			s.Value = "(hidden)"
		}
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Key < list[j].Key })
	return list
}
