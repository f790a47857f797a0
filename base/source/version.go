package source

import (
	"strconv"
	"strings"
	"time"
)

// sameVersion reports whether two looks at a file saw the same one. What one
// of them was not told (time, hash) does not count.
func sameVersion(a, b Item) bool {
	return a.Size == b.Size &&
		(a.ModTime.IsZero() || b.ModTime.IsZero() || a.ModTime.Equal(b.ModTime)) &&
		(a.Hash == "" || b.Hash == "" || hashKind(a.Hash) != hashKind(b.Hash) || a.Hash == b.Hash)
}

func hashKind(h string) string {
	kind, _, _ := strings.Cut(h, ":")
	return kind
}

// versionOf reads an Item's ID back; ok is false for what is none.
func versionOf(id string) (v Item, ok bool) {
	size, rest, ok1 := strings.Cut(id, ":")
	mtime, hash, ok2 := strings.Cut(rest, ":")
	n, err1 := strconv.ParseInt(size, 10, 64)
	ns, err2 := strconv.ParseInt(mtime, 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil {
		return Item{}, false
	}
	v.Size, v.Hash = n, hash
	if ns != 0 {
		v.ModTime = time.Unix(0, ns)
	}
	return v, true
}

// expect holds the version found against the one asked for by id; "" asks for
// any.
func expect(id string, found Item) error {
	if id == "" {
		return nil
	}
	if want, ok := versionOf(id); !ok || !sameVersion(want, found) {
		return changed(id, found.ID())
	}
	return nil
}
