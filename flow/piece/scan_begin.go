package piece

import (
	"bytes"
	"unicode/utf8"

	"github.com/multiformats/go-varint"
)

// otherFormats are what people have beside their CARs, by how it begins.
var otherFormats = [...]struct{ magic, name string }{
	{"\x1f\x8b", "a gzip file; decompress it first"},
	{"\x28\xb5\x2f\xfd", "a zstd file; decompress it first"},
	{"\xfd7zXZ", "an xz file; decompress it first"},
	{"BZh", "a bzip2 file; decompress it first"},
	{"PK\x03\x04", "a zip file; take the CAR out of it first"},
	{"age-encryption.org", "an age file; decrypt it first"},
	{"<", "HTML or XML; it may be the page of an error or of a login"},
	{"{", "JSON; it may be an error"},
	{"\x00\x00\x00\x00", "zeros"},
}

// notCAR says what begins so, "" if it may be a CAR: a length, and a map of CBOR
// of one or two keys. Bytes that are too few to tell may be one.
func notCAR(begin []byte) string {
	_, used, err := varint.FromUvarint(begin)
	if err == nil && (len(begin) == used || begin[used] == 0xa1 || begin[used] == 0xa2) {
		return ""
	}
	for _, f := range otherFormats {
		if bytes.HasPrefix(begin, []byte(f.magic)) {
			return f.name
		}
	}
	switch {
	case err != nil || len(begin) < len(pragmaV2):
		return "" // the length says what is wrong with it
	case utf8.Valid(begin):
		return "a text"
	}
	return "something else"
}
