package dag

import (
	"context"
	"errors"
	"io"
	"iter"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
)

var errSoon = errors.ErrUnsupported

func AddFile(ctx context.Context, p Putter, r io.Reader, prof Profile) (Entry, error) {
	return Entry{}, errSoon
}
func AddSymlink(ctx context.Context, p Putter, target string, prof Profile) (Entry, error) {
	return Entry{}, errSoon
}
func AddDirectory(ctx context.Context, p Putter, entries []Entry, prof Profile) (Entry, error) {
	return Entry{}, errSoon
}
func AddPath(ctx context.Context, p Putter, path string, prof Profile, o PathOptions) (Entry, error) {
	return Entry{}, errSoon
}

type PathOptions struct{ Hidden bool }

type Tree struct{}

func NewTree(p Putter, prof Profile) *Tree { return &Tree{} }
func (t *Tree) AddFile(ctx context.Context, path string, r io.Reader) (Entry, error) {
	return Entry{}, errSoon
}
func (t *Tree) AddSymlink(ctx context.Context, path, target string) (Entry, error) {
	return Entry{}, errSoon
}
func (t *Tree) AddEntry(path string, e Entry) error       { return errSoon }
func (t *Tree) Mkdir(path string) error                   { return errSoon }
func (t *Tree) Finish(ctx context.Context) (Entry, error) { return Entry{}, errSoon }

type File struct{ io.ReadSeekCloser }

func OpenFile(ctx context.Context, g Getter, c cid.Cid) (io.ReadSeekCloser, int64, error) {
	return nil, 0, errSoon
}
func Stat(ctx context.Context, g Getter, c cid.Cid) (Entry, error)           { return Entry{}, errSoon }
func List(ctx context.Context, g Getter, c cid.Cid) iter.Seq2[Entry, error]  { return nil }
func Links(ctx context.Context, g Getter, c cid.Cid) iter.Seq2[Entry, error] { return nil }
func Resolve(ctx context.Context, g Getter, root cid.Cid, path string) (Entry, error) {
	return Entry{}, errSoon
}

type Exported struct {
	Files, Dirs, Symlinks int64
	Bytes                 int64
}

func Export(ctx context.Context, g Getter, root cid.Cid, path string) (Exported, error) {
	return Exported{}, errSoon
}

// Walker visits several roots sharing one seen set.
type Walker struct{}

func NewWalker(g Getter) *Walker { return &Walker{} }
func (w *Walker) Walk(ctx context.Context, root cid.Cid, visit func(c cid.Cid, data []byte) error) error {
	return errSoon
}
func (w *Walker) Sizes(ctx context.Context, root cid.Cid, visit func(c cid.Cid, size int) error) error {
	return errSoon
}
func Walk(ctx context.Context, g Getter, root cid.Cid, visit func(c cid.Cid, data []byte) error) error {
	return errSoon
}
func Complete(ctx context.Context, g Getter, root cid.Cid) error { return errSoon }

type CAROptions struct {
	MaxBlock   int  // bytes, 0 = MaxBlockSize
	MaxHeader  int  // bytes, 0 = 1 MiB
	ZeroPadded bool // zeros after the last section are its end (a piece read back)
}

type CARFault string

type CARError struct {
	Fault   CARFault
	Section int // 0 is the header
	Offset  int64
	Err     error
}

func (e *CARError) Error() string { return string(e.Fault) }

type CARReader struct {
	Version int
	Roots   []cid.Cid
}

func NewCARReader(r io.Reader, o CAROptions) (*CARReader, error) { return nil, errSoon }

// Next: offset is where the block's data start in the stream.
func (r *CARReader) Next() (blocks.Block, int64, error) { return nil, 0, errSoon }
func CARHeader(roots []cid.Cid) []byte                  { return nil }
func CARSectionHeader(c cid.Cid, size int) []byte       { return nil }
func WriteCAR(ctx context.Context, w io.Writer, roots []cid.Cid, bs iter.Seq2[blocks.Block, error]) error {
	return errSoon
}

type CARSummary struct {
	Version      int
	Roots        []cid.Cid
	MissingRoots []cid.Cid
	Blocks       int64
	Bytes        int64
}

func AddCAR(ctx context.Context, p Putter, r io.Reader, o CAROptions) (CARSummary, error) {
	return CARSummary{}, errSoon
}
