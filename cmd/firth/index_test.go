package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/indexdag"
)

// indexed writes a directory with a CAR of one file and one with its index.
func indexed(t *testing.T, content []byte) (dir string, root cid.Cid) {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	car := func(root cid.Cid, bs ...blocks.Block) cid.Cid {
		var out bytes.Buffer
		check(dag.WriteCAR(t.Context(), &out, []cid.Cid{root}, func(yield func(blocks.Block, error) bool) {
			for _, b := range bs {
				if !yield(b, nil) {
					return
				}
			}
		}))
		w := commp.New()
		_, _ = w.Write(out.Bytes())
		p, err := w.Sum()
		check(err)
		check(os.WriteFile(filepath.Join(dir, p.CIDv2.String()+".car"), out.Bytes(), 0o600))
		return p.CIDv2
	}
	c, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: mh.SHA2_256, MhLength: -1}.Sum(content)
	check(err)
	leaf, err := blocks.NewBlockWithCid(content, c)
	check(err)
	piece := car(c, leaf)
	var nodes []blocks.Block
	w := indexdag.NewWriter(func(b blocks.Block) error { nodes = append(nodes, b); return nil }, indexdag.WriterOptions{})
	at := indexdag.Range{Offset: int64(len(dag.CARHeader([]cid.Cid{c}))), Length: int64(len(dag.CARSectionHeader(c, len(content))) + len(content))}
	check(w.Add(indexdag.Entry{
		Path: "dir/hello.txt", Size: int64(len(content)), Cid: c,
		Sources: []indexdag.Source{{Piece: piece, Cid: c, Length: int64(len(content)), CAR: []indexdag.Range{at}}},
	}))
	check(w.Add(indexdag.Entry{Path: "link", Kind: indexdag.Symlink, Target: "dir/hello.txt", Cid: c}))
	root, err = w.Finish(indexdag.Header{Profile: dag.DefaultProfile}, func(func(indexdag.Piece, error) bool) {})
	check(err)
	car(root, nodes...)
	return dir, root
}

// txtServer answers every DNS question with one TXT record.
func txtServer(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.TXTResource{TXT: []string{text}},
			}}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// TestGetByIndex gets files with no node anywhere.
func TestGetByIndex(t *testing.T) {
	content := []byte("hello, estuary\n")
	dir, root := indexed(t, content)
	out := filepath.Join(t.TempDir(), "out")
	dns := txtServer(t, "dnslink=/ipfs/"+root.String())
	firth := func(code int, args ...string) (said, told string) {
		t.Helper()
		var a, b bytes.Buffer
		if got := run(context.Background(), append([]string{"--home", t.TempDir()}, args...), nil, stdio{strings.NewReader(""), &a, &b}); got != code {
			t.Fatalf("firth %q: exit code %d, want %d\n%s%s", args, got, code, a.String(), b.String())
		}
		return a.String(), b.String()
	}
	said, _ := firth(0, "get", root.String(), "-o", out, "--from", dir)
	if !strings.Contains(said, "1 file, 15 B, every block verified") {
		t.Errorf("%s", said)
	}
	got, err := os.ReadFile(filepath.Join(out, "link")) // by the link
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%q, %v", got, err)
	}
	said, _ = firth(0, "get", root.String(), "-o", out, "--from", dir, "--json")
	var answer fetched
	if err := json.Unmarshal([]byte(said), &answer); err != nil || answer.Kept != 1 || answer.Files != 1 || answer.Symlinks != 1 || answer.Index != root.String() {
		t.Errorf("%s, %v", said, err)
	}
	if said, _ = firth(0, "get", "data.example/dir/hello.txt", "-o", "-", "--dns", dns, "--from", "http://127.0.0.1:1,"+dir); said != string(content) {
		t.Errorf("%q", said)
	}
	if err := os.WriteFile(filepath.Join(out, "dir", "hello.txt"), []byte("altered"), 0o600); err != nil {
		t.Fatal(err)
	}
	for span, want := range map[string]string{"0-4": string(content[:5]), "3-": string(content[3:]), "2-999999": string(content[2:])} {
		if said, _ = firth(0, "get", root.String()+"/dir/hello.txt", "-o", "-", "--range", span, "--from", dir); said != want {
			t.Errorf("range %s: %q", span, said)
		}
	}
	for _, span := range []string{"x", "5", "-5", "9-2", "999999-"} {
		firth(2, "get", root.String()+"/dir/hello.txt", "-o", "-", "--range", span, "--from", dir)
	}
	firth(2, "get", root.String()+"/dir/hello.txt", "-o", out, "--range", "0-1", "--from", dir)
	firth(2, "get", root.String(), "-o", "-", "--range", "0-1")
	_, told := firth(4, "get", root.String()+"/dir", "-o", out, "--from", dir)
	if !strings.Contains(told, "dir/hello.txt: another file is in the way; --force replaces it") {
		t.Errorf("%s", told)
	}
	firth(0, "get", root.String()+"/dir", "-o", out, "--from", dir, "--overwrite")
	firth(3, "get", root.String()+"/absent", "-o", out, "--from", dir)
	firth(3, "get", root.String(), "-o", out, "--from", filepath.Join(dir, "absent"))
	firth(2, "get", "nonsense", "-o", out, "--from", dir)
	firth(2, "get", root.String(), "-o", "-", "--from", dir)
	firth(2, "get", root.String(), "--provider", "f01", "--from", dir)

	if said, _ = firth(0, "ls", root.String(), "--from", dir); !strings.Contains(said, "dir   15 B  1      dir") || !strings.Contains(said, "link -> dir/hello.txt") {
		t.Errorf("%s", said)
	}
	said, _ = firth(0, "ls", root.String()+"/dir", "--from", dir, "--json")
	var list []listed
	if err := json.Unmarshal([]byte(said), &list); err != nil || len(list) != 1 || list[0].Path != "dir/hello.txt" || list[0].Size != 15 {
		t.Errorf("%s, %v", said, err)
	}
	firth(2, "ls", root.String())
	firth(2, "ls", "--from", dir)
}
