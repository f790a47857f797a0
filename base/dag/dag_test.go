package dag_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// store keeps blocks in memory and counts what is asked of it.
type store struct {
	mu      sync.Mutex
	blocks  map[cid.Cid]blocks.Block
	order   []cid.Cid
	gets    map[cid.Cid]int
	largest int // bytes of one PutMany
}

func newStore() *store {
	return &store{blocks: map[cid.Cid]blocks.Block{}, gets: map[cid.Cid]int{}}
}

func (s *store) PutMany(_ context.Context, bs []blocks.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, b := range bs {
		if _, ok := s.blocks[b.Cid()]; !ok {
			s.blocks[b.Cid()] = b
			s.order = append(s.order, b.Cid())
		}
		n += len(b.RawData())
	}
	s.largest = max(s.largest, n)
	return nil
}

func (s *store) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blocks[c]
	if !ok {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	s.gets[c]++
	return b, nil
}

// sized is a store that tells sizes, too.
type sized struct{ *store }

func (s sized) GetSize(_ context.Context, c cid.Cid) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blocks[c]
	if !ok {
		return 0, ipld.ErrNotFound{Cid: c}
	}
	return len(b.RawData()), nil
}

// discard forgets every block.
type discard struct{}

func (discard) PutMany(context.Context, []blocks.Block) error { return nil }

// counter is the sha256ctr byte generator of the vectors.
type counter struct {
	seed string
	next uint64
	rest []byte
}

func (g *counter) Read(p []byte) (int, error) {
	n := 0
	buf := append([]byte(g.seed), make([]byte, 8)...)
	for n < len(p) {
		if len(g.rest) == 0 {
			binary.BigEndian.PutUint64(buf[len(g.seed):], g.next)
			sum := sha256.Sum256(buf)
			g.rest, g.next = sum[:], g.next+1
		}
		k := copy(p[n:], g.rest)
		n, g.rest = n+k, g.rest[k:]
	}
	return n, nil
}

func generate(seed string, size int64) io.Reader {
	return io.LimitReader(&counter{seed: seed}, size)
}

// bytesOnce generates the longest ordinary input once for all tests.
var bytesOnce = sync.OnceValue(func() []byte {
	b, err := io.ReadAll(generate("unixfs", 45613057))
	if err != nil {
		panic(err)
	}
	return b
})

func profile(t testing.TB, name string) dag.Profile {
	t.Helper()
	p, err := dag.ProfileNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, s dag.Putter, data []byte, prof dag.Profile) dag.Entry {
	t.Helper()
	e, err := dag.AddFile(t.Context(), s, bytes.NewReader(data), prof)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// block makes a block of any bytes under a codec and puts it into the store.
func block(t testing.TB, s *store, codec uint64, data []byte) cid.Cid {
	t.Helper()
	sum, err := mh.Sum(data, mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	c := cid.NewCidV1(codec, sum)
	b, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutMany(t.Context(), []blocks.Block{b}); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error %v: kind %v, want %v", err, fault.KindOf(err), kind)
	}
}

func TestProfileNames(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range dag.Profiles() {
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			if seen[name] {
				t.Errorf("the name %q stands twice", name)
			}
			seen[name] = true
			if got := profile(t, name); got.Name != p.Name {
				t.Errorf("ProfileNamed(%q) = %s", name, got.Name)
			}
		}
	}
	if profile(t, "").Name != "unixfs-v1-2025" {
		t.Error("the empty name is not the default")
	}
	_, err := dag.ProfileNamed("sha1")
	wantKind(t, err, fault.Invalid)
}

var errBroken = errors.New("broken")

func seq(n int) string { return fmt.Sprintf("%05d", n) }

// putFunc forgets every block and calls itself for each batch.
type putFunc func()

func (f putFunc) PutMany(context.Context, []blocks.Block) error { f(); return nil }
