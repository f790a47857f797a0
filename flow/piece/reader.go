package piece

import (
	"context"
	"os"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// Sources opens the files that pieces were packed from.
type Sources interface {
	// OpenSource opens a file if it is still the version that ID names; if it is
	// not, the error is fault.Conflict, if it is gone fault.NotFound.
	OpenSource(ctx context.Context, s pack.Source) (pack.File, error)
}

// Reader reads the CAR of a piece at any offset; see pack.Reader.
type Reader struct {
	*pack.Reader
	Piece Piece
}

// OriginCAR is the Source.Origin of blocks that are read from the CAR of the
// piece itself, which stands somewhere as a file: Position is where they are in
// it, and the other words are empty.
const OriginCAR = "car"

// maxWindows is how many readers of this process take 16 MiB at a time.
const maxWindows = 8

// Open reads the CAR of a piece, given by its CID of either version. The reader
// ends with ctx.
func (s *Service) Open(ctx context.Context, ref string) (*Reader, error) {
	p, err := s.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, p)
}

func (s *Service) open(ctx context.Context, p Piece) (*Reader, error) {
	if p.Wrong != "" {
		return nil, fault.New(fault.Conflict, "piece %s: is not what its CID says: %s", p.CID, p.Wrong)
	}
	x, closeIndex, err := s.index(ctx, p.CID)
	if err != nil {
		return nil, fault.Wrap(err, "open piece %s", p.CID)
	}
	return &Reader{pack.NewReader(ctx, x, bytesOf{s, p}, s.windows, closeIndex), p}, nil
}

// index opens the index of a piece.
func (s *Service) index(ctx context.Context, pieceCID string) (*pack.Index, func() error, error) {
	f, size, closeIndex, err := s.indexFile(ctx, indexKey(pieceCID))
	if err != nil {
		return nil, nil, err
	}
	x, err := pack.OpenIndex(f, size)
	if err != nil {
		_ = closeIndex()
		return nil, nil, err
	}
	return x, closeIndex, nil
}

// indexFile opens an index as a file: the blob store's own, or a copy of it.
func (s *Service) indexFile(ctx context.Context, key string) (*os.File, int64, func() error, error) {
	if where, ok := s.blobs.(localPath); ok {
		if path, ok := where.LocalPath(key); ok {
			f, size, err := opened(os.Open(path))
			if err != nil {
				return nil, 0, nil, err
			}
			return f, size, f.Close, nil
		}
	}
	return s.indexes.open(ctx, key)
}

// bytesOf is where the bytes of a piece are.
type bytesOf struct {
	s *Service
	p Piece
}

// Block implements pack.Bytes.
func (b bytesOf) Block(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	return b.s.blocks.Get(ctx, c)
}

// Open implements pack.Bytes.
func (b bytesOf) Open(ctx context.Context, src pack.Source) (pack.File, error) {
	if src.Origin == OriginCAR {
		return b.s.openOwnCAR(ctx, b.p)
	}
	if b.s.sources == nil {
		return nil, fault.New(fault.Unavailable, "this process reads no sources")
	}
	return b.s.sources.OpenSource(ctx, src)
}

// openOwnCAR opens the CAR a piece reads its blocks from: where it stands, or
// in the blob store if it was copied there, too, and stands nowhere else any more.
func (s *Service) openOwnCAR(ctx context.Context, p Piece) (pack.File, error) {
	if p.CAR != "" && !InBucket(p.CAR) {
		f, err := openCAR(p)
		if err == nil {
			return carFile{f, p}, nil
		}
		if !p.Cached {
			return nil, err
		}
	}
	where, here := s.blobs.(localPath)
	if InBucket(p.CAR) || !here {
		car, ok := s.OpenStored(ctx, p)
		if !ok {
			return nil, fault.New(fault.NotFound, "CAR of piece %s: is not in its store any more", p.CID)
		}
		return storedFile{car}, nil
	}
	path, _ := where.LocalPath(carKey(p.CID))
	f, _, err := opened(os.Open(path))
	if err != nil {
		return nil, err
	}
	return keptFile{f}, nil
}

// storedFile is a CAR whose name says what it holds.
type storedFile struct{ CAR }

// Check implements pack.File.
func (storedFile) Check() error { return nil }

// keptFile is a CAR in the blob store, where nothing changes.
type keptFile struct{ *os.File }

// Check implements pack.File.
func (keptFile) Check() error { return nil }

// carFile is a file outside the blob store that a CAR is in.
type carFile struct {
	*os.File
	p Piece
}

// ReadAt implements pack.File: offsets are the CAR's.
func (f carFile) ReadAt(b []byte, off int64) (int, error) { return f.File.ReadAt(b, off+f.p.CARAt) }

// Check implements pack.File.
func (f carFile) Check() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.p.fits(info)
}

// fits returns fault.Conflict if a file cannot be the CAR as it was registered.
func (p Piece) fits(info os.FileInfo) error {
	length := p.CARLength
	if length == 0 {
		length = p.CARSize
	}
	if info.Size() != length || info.ModTime().UnixNano() != p.CARTime {
		return fault.New(fault.Conflict, "CAR %s: is not the file any more that piece %s was made from", p.CAR, p.CID)
	}
	return nil
}

// openCAR opens the CAR that stands outside the blob store.
func openCAR(p Piece) (*os.File, error) {
	f, err := os.Open(p.CAR)
	if err != nil {
		return nil, fault.Mark(kindOfPath(err), err)
	}
	if err := (carFile{f, p}).Check(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func kindOfPath(err error) fault.Kind {
	if os.IsNotExist(err) {
		return fault.NotFound
	}
	return fault.Unavailable
}

// OpenCached opens the CAR of a piece that stands on this machine as a file,
// where it was exported or imported or in the blob store, which is served
// fastest; ok is false if there is none, or if the file is not what it was.
func (s *Service) OpenCached(p Piece) (f *os.File, ok bool) {
	if p.Wrong != "" {
		return nil, false
	}
	if p.CAR != "" && p.CARLength == 0 {
		if f, err := openCAR(p); err == nil {
			return f, true
		}
	}
	where, isLocal := s.blobs.(localPath)
	if !p.Cached || !isLocal {
		return nil, false
	}
	path, ok := where.LocalPath(carKey(p.CID))
	if !ok {
		return nil, false
	}
	f, size, err := opened(os.Open(path))
	if err == nil && size != p.CARSize { // cut short by who knows what; the blocks are still there
		_ = f.Close()
		return nil, false
	}
	return f, err == nil
}

// localPath is what a blob store on this machine can do.
type localPath interface {
	LocalPath(key string) (path string, ok bool)
}

func opened(f *os.File, err error) (*os.File, int64, error) {
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
