package source

import (
	"strconv"
	"time"
)

// Kind is what an Item is.
type Kind uint8

// The kinds. KindOther is a device, socket or pipe: told, never opened.
const (
	KindFile Kind = iota
	KindDir
	KindSymlink
	KindOther
)

// String returns "file", "directory", "symlink" or "other".
func (k Kind) String() string {
	return [...]string{"file", "directory", "symlink", "other"}[min(k, KindOther)]
}

// Item is one name of a source. Names are arbitrary bytes without NUL and "/".
type Item struct {
	Path    string // from the root of the source, "/" between names, none at the ends
	Kind    Kind
	Size    int64     // bytes; of a file only; -1 when the source does not tell
	ModTime time.Time // zero when the source does not tell
	// Hash is what the source tells of the content without reading it:
	// "md5:<hex>", "etag:<strong ETag>", or nothing.
	Hash   string
	Target string // of a symbolic link
	// Unreadable says why this name cannot be part of a dataset: no permission,
	// gone while it was listed, a name no tree can hold. Such an item is never
	// opened; it is told so that it can be reported.
	Unreadable string
}

// Key is where the item stands in the order of Walk, and what Walk's after
// takes: the path, with "/" behind it for a directory.
func (i Item) Key() string {
	if i.Kind == KindDir {
		return i.Path + "/"
	}
	return i.Path
}

// ID names the version of a file: "size:mtime:hash", bytes, nanoseconds since
// 1970 (0 when unknown), and Hash.
func (i Item) ID() string { return string(i.appendID(make([]byte, 0, 48))) }

func (i *Item) appendID(b []byte) []byte {
	b = strconv.AppendInt(b, i.Size, 10)
	b = append(b, ':')
	var mtime int64
	if !i.ModTime.IsZero() {
		mtime = i.ModTime.UnixNano()
	}
	b = strconv.AppendInt(b, mtime, 10)
	b = append(b, ':')
	return append(b, i.Hash...)
}
