package dag

import (
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// hamtFanout is the number of slots of a shard, the same in every profile.
const hamtFanout = 256

// Profile is everything but the bytes and names that decides a CID. The hash
// is always SHA2-256.
type Profile struct {
	Name    string
	Aliases []string // other names of the same settings
	Origin  string   // who made or makes CIDs with it

	ChunkSize         int  // bytes of content in a leaf
	MaxLinks          int  // children of a file node
	RawLeaves         bool // leaves are plain bytes (codec raw), else UnixFS nodes
	CIDVersion        int
	Trickle           bool // trickle layout, else balanced
	HAMTThreshold     int  // a directory estimated above this many bytes is sharded
	HAMTBlockEstimate bool // estimate the encoded block (IPIP-499), else names plus CIDs
}

// DefaultProfile is what the empty name means.
const DefaultProfile = "unixfs-v1-2025"

// Profiles returns the table of import profiles, the default one first.
func Profiles() []Profile {
	const kib, threshold = 1 << 10, 256 << 10
	return []Profile{
		{Name: DefaultProfile, Aliases: []string{"default"}, Origin: "IPIP-499; Kubo's profile of the same name",
			ChunkSize: 1024 * kib, MaxLinks: 1024, RawLeaves: true, CIDVersion: 1, HAMTThreshold: threshold, HAMTBlockEstimate: true},
		{Name: "unixfs-v0-2015", Aliases: []string{"kubo", "kubo-0.42-default", "legacy-flags-cid-v0"}, Origin: "Kubo without settings",
			ChunkSize: 256 * kib, MaxLinks: 174, CIDVersion: 0, HAMTThreshold: threshold},
		{Name: "cid-v1-raw-256KiB", Origin: "Kubo with --cid-version=1",
			ChunkSize: 256 * kib, MaxLinks: 174, RawLeaves: true, CIDVersion: 1, HAMTThreshold: threshold},
		{Name: "cid-v1-raw-1MiB", Aliases: []string{"estuary-v1"}, Origin: "Estuary V1; Kubo with --cid-version=1 --chunker=size-1048576",
			ChunkSize: 1024 * kib, MaxLinks: 174, RawLeaves: true, CIDVersion: 1, HAMTThreshold: threshold},
		{Name: "edge", Origin: "Edge, through the defaults of WhyPFS",
			ChunkSize: 256 * kib, MaxLinks: 174, CIDVersion: 1, HAMTThreshold: threshold},
		{Name: "trickle-cid-v0", Aliases: []string{"trickle"}, Origin: "Kubo with --trickle",
			ChunkSize: 256 * kib, MaxLinks: 174, CIDVersion: 0, Trickle: true, HAMTThreshold: threshold},
		{Name: "trickle-cid-v1-raw", Origin: "Kubo with --trickle --cid-version=1",
			ChunkSize: 256 * kib, MaxLinks: 174, RawLeaves: true, CIDVersion: 1, Trickle: true, HAMTThreshold: threshold},
	}
}

// ProfileNamed returns the profile of a name or alias; "" is the default. An
// unknown name is Invalid and the error lists the known ones.
func ProfileNamed(name string) (Profile, error) {
	if name == "" {
		name = DefaultProfile
	}
	var known []string
	for _, p := range Profiles() {
		if p.Name == name || slices.Contains(p.Aliases, name) {
			return p, nil
		}
		known = append(append(known, p.Name), p.Aliases...)
	}
	return Profile{}, fault.New(fault.Invalid, "import profile %q: unknown, one of %s", name, strings.Join(known, ", "))
}

// check refuses settings no DAG can be built with.
func (p Profile) check() error {
	switch {
	case p.ChunkSize < 1 || p.ChunkSize > MaxBlockSize/2:
		return fault.New(fault.Invalid, "import profile %q: chunk size %d, from 1 to %d", p.Name, p.ChunkSize, MaxBlockSize/2)
	case p.MaxLinks < 2 || p.MaxLinks > 8192:
		return fault.New(fault.Invalid, "import profile %q: %d links a node, from 2 to 8192", p.Name, p.MaxLinks)
	case p.CIDVersion != 0 && p.CIDVersion != 1:
		return fault.New(fault.Invalid, "import profile %q: CID version %d, 0 or 1", p.Name, p.CIDVersion)
	case p.HAMTThreshold < 1 || p.HAMTThreshold > MaxBlockSize/2:
		return fault.New(fault.Invalid, "import profile %q: HAMT threshold %d, from 1 to %d", p.Name, p.HAMTThreshold, MaxBlockSize/2)
	}
	return nil
}

// prefix is what the profile's dag-pb nodes are named with.
func (p Profile) prefix() cid.Prefix {
	return cid.Prefix{Version: uint64(p.CIDVersion), Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: -1}
}
