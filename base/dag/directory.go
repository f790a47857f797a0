package dag

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-bitfield"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/spaolacci/murmur3"

	"github.com/firth-project/firth/base/fault"
)

const (
	maxName   = 1024 // bytes of a name we write; S3 keys are as long
	maxTarget = 4096 // bytes of a symbolic link's target, Linux' PATH_MAX

	murmur64 = 0x22 // multihash code of the hash that places names in a shard
)

// AddDirectory stores one directory of these entries, of which Name, Cid and
// TreeSize count, in any order. It becomes a HAMT when the profile's estimate
// is above its threshold (UnixFS specification; IPIP-499). A name twice is
// Conflict; a name no file system could hold is Invalid.
func AddDirectory(ctx context.Context, p Putter, entries []Entry, prof Profile) (Entry, error) {
	b := newBatch(p)
	e, err := b.sink(ctx).addDirectory(slices.Clone(entries), prof)
	if err != nil {
		return Entry{}, err
	}
	return e, fault.Wrap(b.flush(ctx), "store directory %s", e.Cid)
}

// addDirectory sorts entries in place.
func (s sink) addDirectory(entries []Entry, prof Profile) (Entry, error) {
	if err := prof.check(); err != nil {
		return Entry{}, err
	}
	slices.SortFunc(entries, func(x, y Entry) int { return strings.Compare(x.Name, y.Name) })
	for i, e := range entries {
		if err := checkName(e.Name); err != nil {
			return Entry{}, err
		}
		if !e.Cid.Defined() {
			return Entry{}, fault.New(fault.Invalid, "directory entry %q: no CID", e.Name)
		}
		if i > 0 && entries[i-1].Name == e.Name {
			return Entry{}, fault.New(fault.Conflict, "directory entry %q: twice", e.Name)
		}
	}
	return s.putDirectory(listed(entries), estimate(entries, prof), prof)
}

// listing hands out the entries of a directory whose names are judged.
type listing interface {
	count() int
	entry(i int) Entry
}

type listed []Entry

func (l listed) count() int        { return len(l) }
func (l listed) entry(i int) Entry { return l[i] }

// putDirectory stores a directory in the form that its estimated size decides.
func (s sink) putDirectory(in listing, estimated int, prof Profile) (Entry, error) {
	put := s.putPlain
	if estimated > prof.HAMTThreshold {
		put = s.putShards
	}
	size, c, err := put(in, prof)
	if err != nil {
		return Entry{}, fault.Wrap(err, "directory of %d entries", in.count())
	}
	return Entry{Cid: c, TreeSize: size, Dir: true}, nil
}

// checkName refuses what cannot be one step of a path.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fault.New(fault.Invalid, "directory entry %q: not a name", name)
	case strings.ContainsAny(name, "/\x00"):
		return fault.New(fault.Invalid, "directory entry %q: a name holds no slash and no zero byte", name)
	case len(name) > maxName:
		return fault.New(fault.Invalid, "directory entry %.40q…: %d bytes, limit %d", name, len(name), maxName)
	}
	return nil
}

// estimate returns the directory's size in bytes as the profile counts it.
func estimate(entries []Entry, prof Profile) int {
	n := estimateEmpty(prof)
	for _, e := range entries {
		n += estimateEntry(e, prof)
	}
	return n
}

func estimateEmpty(prof Profile) int {
	if !prof.HAMTBlockEstimate {
		return 0
	}
	return field(len(unixfs.FolderPBData()))
}

func estimateEntry(e Entry, prof Profile) int {
	if !prof.HAMTBlockEstimate {
		return len(e.Name) + e.Cid.ByteLen()
	}
	return field(field(e.Cid.ByteLen()) + field(len(e.Name)) + 1 + varintLen(e.TreeSize))
}

// field is the encoded size of a protobuf field of n bytes with a small number.
func field(n int) int { return 1 + varintLen(uint64(n)) + n }

func varintLen(v uint64) int { return max(1, (bits.Len64(v)+6)/7) }

func (s sink) putPlain(in listing, prof Profile) (uint64, cid.Cid, error) {
	size, bytes := uint64(0), 0
	entries := make([]Entry, in.count()) // a plain directory is small
	for i := range entries {
		e := in.entry(i)
		entries[i] = e
		size += e.TreeSize
		bytes += 32 + len(e.Name) + e.Cid.ByteLen()
	}
	byName := func(x, y Entry) int { return strings.Compare(x.Name, y.Name) }
	if !slices.IsSortedFunc(entries, byName) { // "a.b" comes before "a/", but not before "a"
		slices.SortFunc(entries, byName)
	}
	b := make([]byte, 0, bytes+32)
	for _, e := range entries {
		b = appendLink(b, e)
	}
	data := unixfs.FolderPBData()
	b = append(binary.AppendUvarint(append(b, fieldData), uint64(len(data))), data...)
	c, err := prof.prefix().Sum(b)
	if err != nil {
		return 0, cid.Undef, err
	}
	return size + uint64(len(b)), c, s(c, b)
}

// Fields of dag-pb's messages with the wire type of bytes, and Tsize's with that
// of numbers.
const (
	fieldData  = 1<<3 | 2
	fieldLinks = 2<<3 | 2
	linkHash   = 1<<3 | 2
	linkName   = 2<<3 | 2
	linkTsize  = 3 << 3
)

// appendLink appends a link of a dag-pb node, in the one order that it has.
// Directories are many and are nothing but links, so they are written here
// instead of through a tree of nodes.
func appendLink(b []byte, e Entry) []byte {
	hash := e.Cid.KeyString()
	b = binary.AppendUvarint(append(b, fieldLinks), uint64(field(len(hash))+field(len(e.Name))+1+varintLen(e.TreeSize)))
	b = append(binary.AppendUvarint(append(b, linkHash), uint64(len(hash))), hash...)
	b = append(binary.AppendUvarint(append(b, linkName), uint64(len(e.Name))), e.Name...)
	return binary.AppendUvarint(append(b, linkTsize), e.TreeSize)
}

// placed is an entry's number with the hash that decides its slot at every
// level.
type placed struct {
	hash uint64
	i    int
}

func (s sink) putShards(in listing, prof Profile) (uint64, cid.Cid, error) {
	all := make([]placed, in.count())
	for i := range all {
		all[i] = placed{murmur3.Sum64([]byte(in.entry(i).Name)), i}
	}
	slices.SortFunc(all, func(x, y placed) int { return cmp.Compare(x.hash, y.hash) })
	return s.putShard(in, all, 0, prof)
}

// putShard stores the shard at a level and the shards below it. The entries
// are sorted by hash and agree in its first level bytes, so a slot is a run of
// them: alone it is a value, with others it is a shard.
func (s sink) putShard(in listing, at []placed, level int, prof Profile) (uint64, cid.Cid, error) {
	if level == 8 {
		return 0, cid.Undef, fault.New(fault.Invalid, "names %q and %q have one hash: a sharded directory cannot hold both", in.entry(at[0].i).Name, in.entry(at[1].i).Name)
	}
	var used bitfield.Bitfield = make([]byte, hamtFanout/8)
	n := new(merkledag.ProtoNode)
	for len(at) > 0 {
		slot := slotOf(at[0].hash, level)
		run := 1
		for run < len(at) && slotOf(at[run].hash, level) == slot {
			run++
		}
		name, link := fmt.Sprintf("%02X", slot), &ipld.Link{}
		if run == 1 {
			e := in.entry(at[0].i)
			name += e.Name
			link.Size, link.Cid = e.TreeSize, e.Cid
		} else {
			var err error
			if link.Size, link.Cid, err = s.putShard(in, at[:run], level+1, prof); err != nil {
				return 0, cid.Undef, err
			}
		}
		if err := n.AddRawLink(name, link); err != nil {
			return 0, cid.Undef, err
		}
		used.SetBit(slot)
		at = at[run:]
	}
	data, err := unixfs.HAMTShardData(used.Bytes(), hamtFanout, murmur64)
	if err != nil {
		return 0, cid.Undef, err
	}
	n.SetData(data)
	return s.putNode(n, prof)
}

// slotOf is the level-th byte of the hash, counted from its most significant.
func slotOf(hash uint64, level int) int {
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], hash)
	return int(be[level])
}
