package indexdag

import (
	"bytes"
	"strings"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/firth-project/firth/base/fault"
)

// nodesOf returns every node of a small index.
func nodesOf(t testing.TB) (out [][]byte) {
	t.Helper()
	w := NewWriter(func(b blocks.Block) error { out = append(out, b.RawData()); return nil }, WriterOptions{})
	leaf, err := cid.Decode("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
	if err != nil {
		t.Fatal(err)
	}
	file := func(path string, n int64) Entry {
		return Entry{Path: path, Size: n, Cid: leaf, Sources: []Source{{Piece: leaf, Cid: leaf, Length: n, Path: "x\xff", CAR: []Range{{59, 1 << 33}, {1, 2}}}}}
	}
	many := file("many", 0)
	for range 200 {
		s := many.Sources[0]
		s.Offset, s.Length = many.Size, 1<<33
		many.Size += s.Length
		many.Sources = append(many.Sources, s)
	}
	many.Sources = many.Sources[1:]
	for _, e := range []Entry{file("a", 1), file("b\xff/c", 1<<40), {Path: "link", Kind: Symlink, Target: "t\xff", Cid: leaf}, many} {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Finish(Header{Name: "x", Root: leaf, Profile: "p", Encryption: "age", Compression: "zstd"}, func(yield func(Piece, error) bool) {
		yield(Piece{Cid: leaf, Root: leaf, Size: 77}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNodesAreDagCBOR holds our encoding to another implementation, which
// gives the same bytes for the same node: keys in order, shortest lengths.
func TestNodesAreDagCBOR(t *testing.T) {
	for _, data := range nodesOf(t) {
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := dagcbor.Decode(nb, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := dagcbor.Encode(nb.Build(), &again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%x\nis encoded by others as\n%x", data, again.Bytes())
		}
		if _, err := parsePage(data); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestHostileNodes(t *testing.T) {
	entry := func(name, kind, more string) string {
		return string(newMap("name", string(appendName(nil, name)), "type", string(appendText(nil, kind)), more))
	}
	leaf := string(appendText(nil, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"))
	dir := func(entries ...string) []byte {
		list := string(appendHead(nil, majorList, uint64(len(entries)))) + strings.Join(entries, "")
		return newMap("type", string(appendText(nil, "dir")), "entries", list)
	}
	file := func(name string) string { return entry(name, "file", string(appendText(nil, "cid"))+leaf) }
	if _, err := parsePage(dir(file("a"), file("b"))); err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"nothing":            {},
		"a list":             {0x80},
		"no type":            {0xa0},
		"cut off":            dir(file("a"))[:20],
		"bytes behind":       append(dir(file("a")), 0),
		"out of order":       dir(file("b"), file("a")),
		"twice":              dir(file("a"), file("a")),
		"parent":             dir(file("..")),
		"slash":              dir(file("a/b")),
		"zero":               dir(file("a\x00")),
		"no name":            dir(file("")),
		"no CID":             dir(entry("a", "file", "")),
		"unknown kind":       dir(entry("a", "fifo", "")),
		"a long list":        newMap("type", string(appendText(nil, "dir")), "entries", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
		"a key twice":        newMap("type", string(appendText(nil, "dir")), "type", string(appendText(nil, "dir"))),
		"deep":               append([]byte("\xa1\x61x"), bytes.Repeat([]byte{0x81}, 1<<20)...),
		"indefinite":         {0xbf, 0xff},
		"an unknown version": newMap("type", string(appendText(nil, "dataset")), "version", "\x02"),
		"half a range":       dir(entry("a", "file", string(appendText(nil, "cid"))+leaf+string(appendText(nil, "sources"))+"\x81\xa2\x63cid"+leaf+"\x63car\x81\x01")),
	} {
		if _, err := parsePage(data); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// newMap writes keys and encoded values, as they come; a last string alone is
// more of them.
func newMap(parts ...string) []byte {
	var body []byte
	n := 0
	for i := 0; i+1 < len(parts); i += 2 {
		body = append(appendText(body, parts[i]), parts[i+1]...)
		n++
	}
	if len(parts)%2 == 1 {
		rest := parts[len(parts)-1]
		body = append(body, rest...)
		for d := (&decoder{b: []byte(rest)}); d.at < len(rest); n++ {
			key := d.skip()
			if value := d.skip(); key != nil || value != nil {
				break
			}
		}
	}
	return append([]byte{majorMap<<5 | byte(n)}, body...)
}

func FuzzNode(f *testing.F) {
	for _, data := range nodesOf(f) {
		f.Add(data)
	}
	f.Add([]byte("\xa3\x66__type\x63dir\x66__size\x01\x61a\xa2\x66__type\x64file\x68__source\x81\xa1\x68selector\x63a/1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePage(data)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
			return
		}
		last := ""
		for _, e := range p.entries {
			if e.Kind != unread && (checkName(e.Path) != nil || e.Key() <= last) {
				t.Errorf("entry %q behind %q", e.Path, last)
			}
			last = e.Key()
		}
	})
}

func FuzzSections(f *testing.F) {
	f.Add([]byte("\x11\xa2eroots\x80gversion\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scanSections(t.Context(), int64(len(data)), func(p []byte, at int64) (int, error) {
			return copy(p, data[at:]), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range s.list {
			if at.offset < 0 || at.offset > int64(len(data)) {
				t.Errorf("section at %d of %d", at.offset, len(data))
			}
		}
	})
}
