package pack

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	blocks "github.com/ipfs/go-block-format"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
)

// Spool collects what an index is made of while a CAR is laid out: records in
// the order of the CAR, the bytes of nodes, the sources. It appends to files of
// a folder, so that it takes 256 KiB of memory whatever the piece, and can be
// cut back to any earlier Mark. It is for one goroutine.
type Spool struct {
	records, nodes, sources, ends appended
	dir                           string
}

// Mark is a point a Spool can be cut back to. The zero Mark is its beginning.
// It is stored, as JSON, in checkpoints.
type Mark struct {
	Records     int64 `json:"records"`
	NodeBytes   int64 `json:"node_bytes"`
	Sources     int64 `json:"sources"`
	SourceBytes int64 `json:"source_bytes"`
}

// spoolFiles are the names of a spool's files in its folder.
var spoolFiles = [...]string{"records", "nodes", "sources", "ends"}

// OpenSpool opens the spool in a folder, which it makes, and cuts it back to
// at. A spool that has not all of that mark is fault.Conflict.
func OpenSpool(dir string, at Mark) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Spool{dir: dir}
	for i, file := range s.files() {
		f, err := os.OpenFile(filepath.Join(dir, spoolFiles[i]), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			_ = s.Close()
			return nil, err
		}
		file.f = f
		info, err := f.Stat()
		if err != nil {
			_ = s.Close()
			return nil, err
		}
		file.flushed = info.Size()
	}
	if err := s.Truncate(at); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// NewSpool returns a spool in memory: 56 bytes a record, and the nodes and
// sources.
func NewSpool() *Spool { return &Spool{} }

func (s *Spool) files() [4]*appended {
	return [4]*appended{&s.records, &s.nodes, &s.sources, &s.ends}
}

// Add appends a record. Its number is that of the records before it.
func (s *Spool) Add(r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	if s.Records() >= MaxRecords {
		return fault.New(fault.Invalid, "piece of more than %d blocks: no index holds them; make pieces smaller", MaxRecords)
	}
	return s.records.grow(func(b []byte) []byte { return r.appendTo(b) })
}

// AddNode appends a block with its bytes, whose section begins at offset, and
// returns its record.
func (s *Spool) AddNode(b blocks.Block, offset int64) (Record, error) {
	r, err := NewRecord(b.Cid(), offset, len(b.RawData()))
	if err != nil {
		return Record{}, err
	}
	r.From, r.Position = FromIndex, s.nodes.size()
	if err := s.Add(r); err != nil {
		return Record{}, err
	}
	return r, s.nodes.grow(func(buf []byte) []byte { return append(buf, b.RawData()...) })
}

// AddSource appends a source and returns what Record.From is for its blocks.
func (s *Spool) AddSource(src Source) (from uint32, err error) {
	n := s.Sources()
	if n >= MaxSources {
		return 0, fault.New(fault.Invalid, "piece of more than %d files: no index holds them; make pieces smaller", MaxSources)
	}
	if err := src.check(); err != nil {
		return 0, err
	}
	if err := s.sources.grow(src.appendTo); err != nil {
		return 0, err
	}
	end := uint64(s.sources.size())
	return FromSource + uint32(n), s.ends.grow(func(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, end) })
}

// Records is how many records there are.
func (s *Spool) Records() int64 { return s.records.size() / recordSize }

// Sources is how many sources there are.
func (s *Spool) Sources() int64 { return s.ends.size() / 8 }

// At reads record i. It costs a read of 56 bytes where it is not among the
// last thousand.
func (s *Spool) At(i int64) (Record, error) {
	var b [recordSize]byte
	if err := s.records.read(b[:], i*recordSize); err != nil {
		return Record{}, fault.Wrap(err, "read record %d of a spool", i)
	}
	return decodeRecord(b[:]), nil
}

// Node reads the bytes of a record that AddNode made.
func (s *Spool) Node(r Record) ([]byte, error) {
	if r.From != FromIndex {
		return nil, fault.New(fault.Internal, "record at %d: is no node of the spool", r.Offset)
	}
	b := make([]byte, r.Size)
	return b, fault.Wrap(s.nodes.read(b, r.Position), "read the node at %d of a CAR from its spool", r.Offset)
}

// Source reads a source by what a record's From is.
func (s *Spool) Source(from uint32) (Source, error) {
	n := int64(from) - int64(FromSource)
	if n < 0 || n >= s.Sources() {
		return Source{}, fault.New(fault.Internal, "source %d of a spool: there are %d", n, s.Sources())
	}
	var bounds [16]byte
	at := bounds[8:]
	if n > 0 {
		at = bounds[:]
	}
	if err := s.ends.read(at, 8*n-int64(len(at))+8); err != nil {
		return Source{}, err
	}
	begin, end := int64(binary.LittleEndian.Uint64(bounds[:])), int64(binary.LittleEndian.Uint64(bounds[8:]))
	b := make([]byte, end-begin)
	if err := s.sources.read(b, begin); err != nil {
		return Source{}, err
	}
	src, ok := decodeSource(b)
	if !ok {
		return Source{}, fault.New(fault.Internal, "source %d of a spool: is damaged", n)
	}
	return src, nil
}

// Mark is where the spool is.
func (s *Spool) Mark() Mark {
	return Mark{Records: s.Records(), NodeBytes: s.nodes.size(), Sources: s.Sources(), SourceBytes: s.sources.size()}
}

// Truncate cuts the spool back to a mark. If the spool never came as far, the
// error is fault.Conflict and nothing is cut.
func (s *Spool) Truncate(m Mark) error {
	sizes := [...]int64{m.Records * recordSize, m.NodeBytes, m.SourceBytes, m.Sources * 8}
	for i, file := range s.files() {
		if sizes[i] < 0 || sizes[i] > file.size() {
			return fault.New(fault.Conflict, "spool in %s: %s has %d bytes, %d are wanted", s.dir, spoolFiles[i], file.size(), sizes[i])
		}
	}
	for i, file := range s.files() {
		if err := file.truncate(sizes[i]); err != nil {
			return fault.Wrap(err, "cut the spool in %s", s.dir)
		}
	}
	return nil
}

// WriteIndex streams the index of a CAR of carSize bytes that begins with
// header, whose sections are the records and whose commitment is tree, which
// has to be complete. Memory is 16 MiB at most and the tree's encoding.
func (s *Spool) WriteIndex(ctx context.Context, w io.Writer, header []byte, carSize int64, tree *commp.Tree) error {
	return fault.Wrap(s.writeIndex(ctx, w, header, carSize, tree, sortLimit), "write the index of a piece")
}

// Close lets go of the files. What was not synced may be lost.
func (s *Spool) Close() error {
	var failed error
	for _, file := range s.files() {
		if file.f != nil {
			failed = firstErr(failed, file.f.Close())
		}
	}
	return failed
}

// Remove closes the spool and deletes its files, not the folder.
func (s *Spool) Remove() error {
	failed := s.Close()
	for _, file := range s.files() {
		if file.f != nil {
			failed = firstErr(failed, os.Remove(file.f.Name()))
		}
	}
	return failed
}

func firstErr(first, next error) error {
	if first != nil {
		return first
	}
	return next
}
