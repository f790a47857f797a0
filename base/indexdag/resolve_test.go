package indexdag_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
)

// dns serves TXT records on loopback and returns a resolver that asks it.
func dns(t *testing.T, records map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := answerTo(buf[:n], records); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func answerTo(query []byte, records map[string][]string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Header.Response, m.Additionals = true, nil
	name := m.Questions[0].Name
	texts, ok := records[strings.TrimSuffix(name.String(), ".")]
	if !ok {
		m.Header.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range texts {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.TXTResource{TXT: []string{text}},
		})
	}
	return m.Pack()
}

func TestResolve(t *testing.T) {
	root, other := newMemory(), newMemory()
	newest := write(t, root, indexdag.Header{Name: "new"}, []indexdag.Entry{some("a", 1)}).Root()
	before := write(t, other, indexdag.Header{Name: "old"}, []indexdag.Entry{some("a", 1)}).Root()
	dir := t.TempDir()
	key, err := indexdag.NewKey()
	must(t, err)
	record := func(k indexdag.Key, sequence uint64, age time.Duration) []byte {
		data, err := k.Record(newest, sequence, time.Now().Add(time.Hour-age), time.Minute)
		must(t, err)
		return data
	}
	old, err := key.Record(before, 1, time.Now().Add(time.Hour), time.Minute)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, key.Name()+".ipns-record"), old, 0o600))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ipns/"+key.Name() || r.URL.Query().Get("format") != "ipns-record" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(record(key, 2, 0))
	}))
	t.Cleanup(server.Close)
	var places []indexdag.Place
	for _, where := range []string{dir, server.URL} {
		p, err := indexdag.OpenPlace(where, nil)
		must(t, err)
		places = append(places, p)
	}
	txt := dns(t, map[string][]string{
		"_dnslink.data.example":  {"v=spf1", "dnslink=/ipfs/" + newest.String() + "/sub"},
		"_dnslink.key.example":   {"dnslink=/ipns/" + key.Name()},
		"_dnslink.other.example": {"dnslink=/ipns/data.example/more"},
		"_dnslink.loop.example":  {"dnslink=/ipns/loop.example"},
		"_dnslink.empty.example": {"nothing"},
	})
	for ref, path := range map[string]string{
		newest.String():                         "",
		newest.String() + "/a/b":                "a/b",
		"/ipfs/" + newest.String() + "/a":       "a",
		"ipfs://" + newest.String():             "",
		"data.example/x":                        "sub/x",
		"/ipns/data.example":                    "sub",
		"other.example/file.mp4":                "sub/more/file.mp4",
		"key.example/x":                         "x",
		"/ipns/" + key.Name() + "/y":            "y",
		"ipns://" + key.Name():                  "",
		key.Name():                              "",
		"/ipns/key.example/with space/and\xff/": "with space/and\xff",
	} {
		c, rest, err := indexdag.Resolve(t.Context(), places, txt, ref)
		if err != nil || c != newest || rest != path {
			t.Errorf("%q: %s %q %v", ref, c, rest, err)
		}
	}
	for ref, kind := range map[string]fault.Kind{
		"":                           fault.Invalid,
		"word":                       fault.Invalid,
		"/ipfs/data.example":         fault.Invalid,
		"/ipns/" + newest.String():   fault.Invalid,
		"loop.example":               fault.Invalid,
		"no.example":                 fault.NotFound,
		"empty.example":              fault.NotFound,
		"k51qzi5uqu5dkkciu33khkzbcm": fault.Invalid,
	} {
		if _, _, err := indexdag.Resolve(t.Context(), places, txt, ref); !fault.Is(err, kind) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if text := indexdag.DNSLink("data.example", "/ipns/"+key.Name()); text != `_dnslink.data.example. 300 IN TXT "dnslink=/ipns/`+key.Name()+`"` {
		t.Errorf("%s", text)
	}
}

func TestRecord(t *testing.T) {
	key, err := indexdag.NewKey()
	must(t, err)
	kept, err := key.Marshal()
	must(t, err)
	again, err := indexdag.ParseKey(kept)
	if err != nil || again.Name() != key.Name() || !strings.HasPrefix(key.Name(), "k51") {
		t.Errorf("%s is %s when read again: %v", key.Name(), again.Name(), err)
	}
	c, expires := rawCid(nil), time.Now().Add(time.Hour).UTC()
	good, err := key.Record(c, 7, expires, time.Minute)
	must(t, err)
	r, err := indexdag.VerifyRecord(key.Name(), good)
	if err != nil || r.Path != "/ipfs/"+c.String() || r.Sequence != 7 || !r.Expires.Equal(expires) || r.Cache != time.Minute {
		t.Errorf("%+v, %v", r, err)
	}
	stranger, err := indexdag.NewKey()
	must(t, err)
	expired, err := key.Record(c, 8, time.Now().Add(-time.Second), time.Minute)
	must(t, err)
	for i := range good {
		wrong := append([]byte(nil), good...)
		wrong[i] ^= 1
		if r, err := indexdag.VerifyRecord(key.Name(), wrong); err == nil && (r.Path != "/ipfs/"+c.String() || r.Sequence != 7) {
			t.Errorf("byte %d altered: %+v", i, r)
		}
	}
	for what, err := range map[string]error{
		"another's name": second(indexdag.VerifyRecord(stranger.Name(), good)),
		"expired":        second(indexdag.VerifyRecord(key.Name(), expired)),
		"no name":        second(indexdag.VerifyRecord("x", good)),
		"nothing":        second(indexdag.VerifyRecord(key.Name(), nil)),
		"too long":       second(indexdag.VerifyRecord(key.Name(), make([]byte, 1<<20))),
	} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, wrong := range [][]byte{nil, []byte("no key"), kept[:len(kept)-1]} {
		if _, err := indexdag.ParseKey(wrong); !fault.Is(err, fault.Invalid) {
			t.Errorf("%x: %v", wrong, err)
		}
	}
	id, err := cid.Decode(key.Name())
	must(t, err)
	for _, form := range []string{key.Name(), id.String(), peerID(id), id.Encode(multibase.MustNewEncoder(multibase.Base32))} {
		if name, err := indexdag.ParseName(form); err != nil || name != key.Name() {
			t.Errorf("%s: %s %v", form, name, err)
		}
	}
	for _, form := range []string{"", "x", "data.example", c.String(), "/ipns/" + key.Name() + "/x"} {
		if name, err := indexdag.ParseName(form); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %s %v", form, name, err)
		}
	}
}

// peerID is the older form of a name.
func peerID(c cid.Cid) string { return c.Hash().B58String() }

func second[T any](_ T, err error) error { return err }
