package dataset

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// order is what the records of a catalog are sorted by.
type order uint32

// The orders, as catalogs write them.
const (
	byPath order = iota // key: the path, a directory's with a slash behind it
	byName              // key: the folded name, a zero byte, the path
	orders
)

// appendKey appends what a record is sorted by.
func (o order) appendKey(b, path []byte, k FileKind) []byte {
	if o == byName {
		return append(append(appendFolded(b, baseName(path)), 0), path...)
	}
	b = append(b, path...)
	if k == KindDirectory {
		b = append(b, '/')
	}
	return b
}

func (o order) keyOf(r Record) string {
	if o == byPath && r.Kind != KindDirectory {
		return r.Path
	}
	var b [256]byte
	return string(o.appendKey(b[:0], []byte(r.Path), r.Kind))
}

// baseName is the last name of a path.
func baseName(path []byte) []byte { return path[bytes.LastIndexByte(path, '/')+1:] }

// appendFolded appends text in lower case, letter by letter (Unicode's simple
// mapping). Bytes that are no UTF-8 stay as they are, so arbitrary names keep
// apart; nothing is composed or decomposed.
func appendFolded(b, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, c)
		} else {
			b = utf8.AppendRune(b, unicode.ToLower(r))
		}
		i += n
	}
	return b
}

func folded(s string) string { return string(appendFolded(nil, []byte(s))) }
