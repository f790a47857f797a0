package dag

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// FuzzCBORLinks holds the links of a block to those another reader finds, which
// also takes some forms that DAG-CBOR does not have.
func FuzzCBORLinks(f *testing.F) {
	link := "\xd8\x2a\x58\x25\x00\x01\x55\x12\x20" + strings.Repeat("l", 32)
	for _, seed := range []string{
		"", "\xf6", "\x00", "\x18\x18", "\x18\x17", "\x19\x01\x00", "\x1b\x00\x00\x00\x01\x00\x00\x00\x00", "\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00",
		"\x63abc", "\x63ab", "\x43abc", "\x82\x01\x02", "\x82\x01", "\xa1\x61a\x01", "\xa1\x61a", "\x9f\x01\xff", "\x1c",
		link, "\x82" + link + link, "\xa1\x61a" + link, "\xd8\x2a\x41\x01", "\xd8\x2a\x40", "\xd8\x2a\x01", "\xc1\x01", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
		"\xbb\x80\x00\x00\x00\x00\x00\x00\x00a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cborLinks(b)
		var want []cid.Cid
		wantErr := cbg.ScanForLinks(bytes.NewReader(b), func(c cid.Cid) { want = append(want, c) })
		if err == nil && wantErr == nil && !slices.Equal(got, want) {
			t.Errorf("%x: %v, want %v", b, got, want)
		}
		if err != nil && len(got) > 0 {
			t.Errorf("%x: links beside %v", b, err)
		}
	})
}

func TestCBORLinks(t *testing.T) {
	link := "\xd8\x2a\x58\x25\x00\x01\x55\x12\x20" + strings.Repeat("l", 32)
	for b, want := range map[string]int{"\xf6": 0, "\xa2\x61a" + link + "\x61b\x81" + link: 2, "\x83\x63abc\xfb\x00\x00\x00\x00\x00\x00\x00\x00" + link: 1} {
		if got, err := cborLinks([]byte(b)); err != nil || len(got) != want {
			t.Errorf("%x: %v, %v; want %d links", b, got, err, want)
		}
	}
	for _, b := range []string{"", "\x82\x01", "\x63ab", "\x9f\x01\xff", "\x18\x17", "\xd8\x2a\x41\x01", "\xd8\x2a\x01", "\x5b\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if got, err := cborLinks([]byte(b)); err == nil {
			t.Errorf("%x: %v", b, got)
		}
	}
}
