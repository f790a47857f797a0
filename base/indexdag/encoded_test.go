package indexdag_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	blocks "github.com/ipfs/go-block-format"
	"github.com/klauspost/compress/zstd"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// TestEncoded gets files back that were compressed and encrypted before they
// were packed. Index and files are in one CAR, whose root is neither.
func TestEncoded(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	plain := bytes.Repeat([]byte("firth "), 300_000)
	var stored bytes.Buffer
	sealed, err := age.Encrypt(&stored, identity.Recipient())
	must(t, err)
	small, err := zstd.NewWriter(sealed)
	must(t, err)
	_, err = small.Write(plain)
	must(t, err)
	must(t, small.Close())
	must(t, sealed.Close())

	p := newPacked(t)
	prof, err := dag.ProfileNamed("")
	must(t, err)
	s, tops := p.add(stored.Bytes(), 0, dag.Leaves(prof, int64(stored.Len())))
	e := indexdag.Entry{
		Path: "x/text", Size: int64(len(plain)), Stored: int64(stored.Len()), Cid: tops[0].Cid,
		ModTime: time.Unix(1_600_000_000, 0), Sources: []indexdag.Source{s},
	}
	d := &dataset{t: t, index: newMemory(), pieces: map[string][]byte{}}
	d.root = write(t, d.index, indexdag.Header{Profile: dag.DefaultProfile, Compression: "zstd", Encryption: "age"}, []indexdag.Entry{e}).Root()
	for _, c := range d.index.order {
		b, err := blocks.NewBlockWithCid(d.index.blocks[c], c)
		must(t, err)
		must(t, p.put(b))
	}
	dir, out := t.TempDir(), t.TempDir()
	_, car := p.finish(tops[0].Cid)
	must(t, os.WriteFile(filepath.Join(dir, "anything.car"), car, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "broken.car"), []byte("no CAR"), 0o600))

	f, r := d.fetcher(indexdag.FetchOptions{}, dir)
	if _, err := f.Fetch(t.Context(), r, "", out); !fault.Is(err, fault.Forbidden) {
		t.Errorf("without a key: %v", err)
	}
	stranger, err := age.GenerateX25519Identity()
	must(t, err)
	f, r = d.fetcher(indexdag.FetchOptions{Identities: []age.Identity{stranger}}, dir)
	if _, err := f.Fetch(t.Context(), r, "", out); !fault.Is(err, fault.Forbidden) || len(tree(t, out)) != 1 {
		t.Errorf("with another key: %v", err)
	}
	f, r = d.fetcher(indexdag.FetchOptions{Identities: []age.Identity{stranger, identity}}, dir)
	_, err = f.Fetch(t.Context(), r, "", out)
	must(t, err)
	if got := tree(t, out); got["x/text"] != string(plain) || len(got) != 2 {
		t.Errorf("%d bytes came back", len(got["x/text"]))
	}
	again, err := f.Fetch(t.Context(), r, "x/text", filepath.Join(out, "x"))
	if err != nil || again.Kept != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestOpenPlace(t *testing.T) {
	for where, kind := range map[string]fault.Kind{
		"ftp://x": fault.Invalid, "http://": fault.Invalid, "http://x?a=b": fault.Invalid, "\x00": 0,
		filepath.Join(t.TempDir(), "no"): fault.NotFound,
	} {
		if _, err := indexdag.OpenPlace(where, nil); err == nil || kind != 0 && !fault.Is(err, kind) {
			t.Errorf("%q: %v", where, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := indexdag.OpenPlace(file, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a file: %v", err)
	}
	if _, err := indexdag.NewFetcher(nil, indexdag.FetchOptions{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no place: %v", err)
	}
}
