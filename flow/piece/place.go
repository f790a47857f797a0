package piece

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/firth-project/firth/base/blob"
	"github.com/firth-project/firth/base/fault"
)

// Buckets opens the buckets that CARs are exported to.
type Buckets interface {
	// OpenBucket opens what an URL like s3://bucket/prefix names: objects are
	// called there exactly like their keys.
	OpenBucket(ctx context.Context, url string) (blob.Store, error)
	// Tidy removes what writers that died have left half sent in a bucket. It is
	// no harm if it cannot.
	Tidy(ctx context.Context, url string)
}

// ExportTo says how buckets are opened; without it there are none. It is called
// before anything is opened.
func (s *Service) ExportTo(b Buckets) { s.buckets = b }

// InBucket reports whether a place is in a bucket rather than a directory.
func InBucket(place string) bool { return strings.HasPrefix(place, "s3:") }

// CARIn is where the CAR of a piece, given by its CID v2, stands in a place: a
// directory, or s3://bucket/prefix?options.
func CARIn(place, pieceCID string) string {
	name := pieceCID + ".car"
	if !InBucket(place) {
		return filepath.Join(place, name)
	}
	at, options, some := strings.Cut(place, "?")
	at = strings.TrimRight(at, "/") + "/" + name
	if some {
		at += "?" + options
	}
	return at
}

// bucketOf takes the URL of a CAR in a bucket apart.
func bucketOf(car string) (place, key string) {
	at, options, some := strings.Cut(car, "?")
	i := strings.LastIndexByte(at, '/')
	place, key = at[:i], at[i+1:]
	if some {
		place += "?" + options
	}
	return place, key
}

// OpenPlace opens a bucket that CARs are to be exported to.
func (s *Service) OpenPlace(ctx context.Context, place string) (blob.Store, error) {
	if s.buckets == nil {
		return nil, fault.New(fault.Unavailable, "place %.200s: this process has no buckets", place)
	}
	return s.buckets.OpenBucket(ctx, place)
}

// Export puts a CAR of size bytes into a bucket, under <piece cid>.car, and
// returns its URL: it is there whole or not at all. One of that size that is
// there already is left alone, as its name says what it holds.
func (s *Service) Export(ctx context.Context, place, pieceCID string, size int64, open func() (io.ReadCloser, error)) (string, error) {
	store, err := s.OpenPlace(ctx, place)
	if err != nil {
		return "", err
	}
	car := CARIn(place, pieceCID)
	_, key := bucketOf(car)
	info, err := store.Stat(ctx, key)
	if err == nil && info.Size == size {
		return car, nil
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	s.buckets.Tidy(ctx, place)
	r, err := open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	_, err = store.Put(ctx, key, &measured{r: r, left: size})
	return car, fault.Wrap(err, "export piece %s", pieceCID)
}

// measured breaks unless it has exactly as many bytes as it should.
type measured struct {
	r    io.Reader
	left int64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.left -= int64(n)
	switch {
	case m.left < 0:
		return 0, fault.New(fault.Internal, "the CAR is longer than its piece")
	case err == io.EOF && m.left > 0:
		return 0, fault.New(fault.Internal, "the CAR ends %d bytes before its piece", m.left)
	}
	return n, err
}

// CAR is a CAR as it stands somewhere.
type CAR interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// OpenStored opens the CAR of a piece that stands in a bucket, to which it was
// exported, or in a blob store that is none of this machine's; ok is false if
// there is none of its size. It is read by ranges, until ctx ends.
func (s *Service) OpenStored(ctx context.Context, p Piece) (car CAR, ok bool) {
	store, key := s.blobs, carKey(p.CID)
	switch {
	case InBucket(p.CAR) && s.buckets != nil:
		var place string
		place, key = bucketOf(p.CAR)
		var err error
		if store, err = s.buckets.OpenBucket(ctx, place); err != nil {
			s.log.Warn("exported CAR cannot be reached", "piece", p.CID, "err", err)
			return nil, false
		}
	case !p.Cached:
		return nil, false
	default:
		if _, here := s.blobs.(localPath); here {
			return nil, false
		}
	}
	info, err := store.Stat(ctx, key)
	if err != nil || info.Size != p.CARSize {
		return nil, false
	}
	return newObject(ctx, store, key, info.Size), true
}

// standsAt notes that the CAR stands at a path or in a bucket, if it does.
func (p *Piece) standsAt(car string) error {
	if InBucket(car) {
		p.CAR, p.CARTime = car, 0
		return nil
	}
	path, err := filepath.Abs(car)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fault.Mark(kindOfPath(err), err)
	}
	p.CAR, p.CARTime = path, info.ModTime().UnixNano()
	return p.fits(info)
}
