package blob

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// Limits of a key, in bytes. A part is what stands between two slashes; its
// limit leaves room for a suffix within the 255 bytes of common file systems.
const (
	MaxKeyBytes  = 512
	MaxPartBytes = 240
)

// Info describes one object.
type Info struct {
	Key     string
	Size    int64 // bytes
	ModTime time.Time
}

// Store keeps objects by key. All methods may be called at the same time, from
// several processes on the same store. Keys are as CheckKey has them, else the
// error is fault.Invalid. A key may be a leading path of another ("a", "a/b").
type Store interface {
	// Put stores all of r under key and replaces what was there. When it
	// returns without error the object is durable and complete, and every later
	// Get, Stat and List of any process sees it. When r or the store fails,
	// or ctx ends, the key holds what it held before. A full store is
	// fault.Exhausted.
	Put(ctx context.Context, key string, r io.Reader) (Info, error)

	// Get reads n bytes from offset off, to the end of the object when n is
	// negative or reaches beyond it. An absent key is fault.NotFound, an offset
	// below 0 or beyond the end fault.Invalid; an offset at the end reads
	// nothing. The reader sees one version of the object even if it is replaced
	// or deleted meanwhile, or it fails. The caller closes it.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)

	// Stat describes the object; an absent key is fault.NotFound.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix and is greater than
	// after, in byte order of the keys. Prefix is any text, not only whole
	// parts. Objects put or deleted meanwhile may or may not be seen. The
	// iteration ends after the first error.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	// Delete removes the object durably. An absent key is no error.
	Delete(ctx context.Context, key string) error
}

// CheckKey returns fault.Invalid unless key is made of parts of [a-z0-9._-]
// joined by single slashes, none of them "." or "..", within the limits. Such a
// key cannot leave the place that a store keeps its objects in.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKeyBytes {
		return fault.New(fault.Invalid, "key %.80q: %d bytes, must be 1 to %d", key, len(key), MaxKeyBytes)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > MaxPartBytes {
			return fault.New(fault.Invalid, "key %q: part %.80q must be 1 to %d bytes and neither . nor ..", key, part, MaxPartBytes)
		}
		for i := range len(part) {
			if !allowed(part[i]) {
				return fault.New(fault.Invalid, "key %q: byte %q, allowed are a-z 0-9 . _ - and /", key, part[i])
			}
		}
	}
	return nil
}

func allowed(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
