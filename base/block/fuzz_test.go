package block

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

// oneSegment is a small sound segment: two blocks, a tombstone, a rank.
func oneSegment() []byte {
	b := []byte(segmentHeader)
	for i := range 2 {
		bl := testBlock(i + 1)
		b = append(appendHead(b, bl.Cid(), len(bl.RawData())), bl.RawData()...)
	}
	b = tombstone(b, 7, testBlock(1).Cid().Hash())
	return appendMark(b, codecRank, make([]byte, 8))
}

func FuzzScan(f *testing.F) {
	f.Add(oneSegment()[len(segmentHeader):])
	f.Add([]byte{})
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 1})
	f.Add(bytes.Repeat([]byte{0}, 100))
	vectors, err := filepath.Glob("testdata/*.car")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range vectors {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := int64(0)
		end, err := scan(readerAt(data), 0, int64(len(data)), func(s section) error {
			if s.off != sum || s.bytes() <= 0 {
				t.Fatalf("section at %d, expected at %d", s.off, sum)
			}
			sum += s.bytes()
			_, _, _ = s.mark()
			if s.isBlock() && !s.bad {
				e := s.entry(1, 1)
				if c, err := headCid(e, data[s.off:s.off+int64(s.head)]); err != nil || !c.Equals(s.cid) {
					t.Fatalf("the head of %s reads as %s, %v", s.cid, c, err)
				}
			}
			return nil
		})
		if end != sum || end > int64(len(data)) || (err == nil) != (end == int64(len(data))) {
			t.Fatalf("ends at %d of %d after %d bytes: %v", end, len(data), sum, err)
		}
		if err != nil && !errors.Is(err, errFraming) {
			t.Fatal(err)
		}
	})
}

func FuzzOpenRun(f *testing.F) {
	m := newMemFiles(newDisk())
	es := make([]entry, 0, 150)
	for i := range 150 {
		es = append(es, entry{key: key{byte(i), 1}, loc: loc{rank: uint64(i)}})
	}
	_, err := writeRun(m, "index/1.run", len(es), func(yield func(entry, error) bool) {
		for _, e := range es {
			yield(e, nil)
		}
	})
	if err != nil {
		f.Fatal(err)
	}
	good := slices.Clone(m.d.now["index/1.run"].data)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[footerBytes:])
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMemFiles(newDisk())
		m.d.now["r"] = &inode{data: data}
		r, err := openRun(m, "r")
		if err != nil {
			return
		}
		_, _, _ = r.find(key{3, 1})
		for _, err := range r.all() {
			if err != nil {
				break
			}
		}
	})
}

// FuzzManifest gives each body its right checksum, so that the rest is reached.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"Runs":["index/1.run"],"Segment":3,"Segments":[{"ID":1,"Size":9},{"ID":3}]}`))
	f.Add([]byte(`{"Segments":[{"ID":-1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		data := fmt.Appendf(nil, "%s %08x\n%s", manifestMagic, crc32.Checksum(body, castagnoli()), body)
		m, err := parseManifest(data)
		if err != nil && !errors.Is(err, errNoManifest) {
			t.Fatal(err)
		}
		if _, err := parseManifest(data[1:]); !errors.Is(err, errNoManifest) {
			t.Fatalf("a manifest that does not begin as one: %v", err)
		}
		_ = m.lost([]uint32{1, 2})
		_, _ = m.state(1)
	})
}

func FuzzSharedEntries(f *testing.F) {
	e := testBlock(1)
	k, _ := keyOfCid(e.Cid())
	f.Add(encodeEntries([]change{{entry: entry{key: k, loc: loc{rank: 1 << 16, size: 20, head: 38}}}}))
	f.Add([]byte(entriesMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		es, err := decodeEntries("x", data)
		if err != nil {
			return
		}
		changes := make([]change, len(es))
		for i, e := range es {
			changes[i].entry = e
		}
		if again, err := decodeEntries("x", encodeEntries(changes)); err != nil || len(again) != len(es) {
			t.Fatalf("%d entries become %d: %v", len(es), len(again), err)
		}
	})
}

// TestSegmentIsCAR reads a segment with the rules of the CARv1 specification
// alone: header length, header, sections of varint, CID and data.
func TestSegmentIsCAR(t *testing.T) {
	data := oneSegment()
	if int(data[0]) != len(segmentHeader)-1 {
		t.Errorf("header length %d, want %d", data[0], len(segmentHeader)-1)
	}
	if !bytes.Contains(data[:len(segmentHeader)], cid.MustParse("bafkqaaa").Bytes()) {
		t.Error("the root is not the empty identity CID")
	}
	checkCAR(t, "segment", data)
}
