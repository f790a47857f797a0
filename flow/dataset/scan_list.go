package dataset

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// segment is how many records a scan writes between two points it goes on from.
const segment = 100_000

// list is the chunk that a scan is filling: catalogs in a directory, one after
// the other, with a mark of how far they reach.
type list struct {
	dir  string
	mark listMark
	file *os.File // of the segment being written
	buf  *bufio.Writer
	w    *CatalogWriter
}

// listMark is what a scan that goes on needs to know beside the records.
type listMark struct {
	Ordinal  int64    `json:"ordinal"` // of the chunk
	Segments int      `json:"segments"`
	Records  int64    `json:"records"`
	Scan     scanMark `json:"scan"`
	Used     int64    `json:"used"` // bytes of CAR
	Last     []byte   `json:"last,omitempty"`
	Files    int64    `json:"files"` // to pack
	Bytes    int64    `json:"bytes"`
	First    []byte   `json:"first,omitempty"`
	Final    []byte   `json:"final,omitempty"`
}

const markFile = "mark.json"

// openList goes on with the chunk of that ordinal if the directory has it, else
// begins it where the chunks before end.
func openList(dir string, ordinal int64, from scanMark) (*list, error) {
	l := &list{dir: dir, mark: listMark{Ordinal: ordinal, Scan: from}}
	text, err := os.ReadFile(filepath.Join(dir, markFile))
	if err == nil {
		var saved listMark
		if json.Unmarshal(text, &saved) == nil && saved.Ordinal == ordinal {
			l.mark = saved
			return l, l.begin()
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	return l, l.begin()
}

func (l *list) path(segment int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%06d.list", segment))
}

// begin starts a segment.
func (l *list) begin() (err error) {
	if err := makeDir(l.dir); err != nil {
		return err
	}
	if l.file, err = os.Create(l.path(l.mark.Segments)); err != nil {
		return diskFault(err)
	}
	l.buf = bufio.NewWriterSize(l.file, 128<<10)
	l.w = NewCatalogWriter(l.buf)
	return nil
}

// add puts a record into the chunk, which is to pack that many bytes of it.
func (l *list) add(r Record, bytes int64) error {
	if err := l.w.Add(r); err != nil {
		return err
	}
	l.mark.Records++
	if l.mark.First == nil {
		l.mark.First = []byte(r.Path)
	}
	l.mark.Final = []byte(r.Path)
	if r.State == FilePending && r.Kind != KindDirectory {
		l.mark.Files++
		l.mark.Bytes += bytes
	}
	return nil
}

func (l *list) full() bool { return l.w.Counts().Records >= segment }

// end finishes the segment, durably.
func (l *list) end() error {
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.w.Close(), l.buf.Flush(), l.file.Sync(), l.file.Close())
	l.file = nil
	if err != nil {
		return diskFault(fault.Wrap(err, "write the list of chunk %d", l.mark.Ordinal))
	}
	l.mark.Segments++
	return nil
}

// next ends a segment, from whose end a scan may go on, and begins another.
func (l *list) next(c *cutter) error {
	if err := l.end(); err != nil {
		return err
	}
	l.mark.Used, l.mark.Last = c.used, []byte(c.last)
	if err := writeFile(filepath.Join(l.dir, markFile), l.mark); err != nil {
		return err
	}
	return l.begin()
}

// save keeps what there is for the next run, after this one ended with an
// error.
func (l *list) save(reason error, c *cutter) error {
	if l.file == nil {
		return reason
	}
	if err := l.next(c); err == nil {
		_ = l.file.Close() // the next run truncates it
	}
	return reason
}

// close ends the chunk: its list becomes a blob, and its row tells of it. rest
// is the file that goes on in the next chunk from a byte on; nil with nothing
// to follow means that this chunk is the last.
func (sc *scanner) close(ctx context.Context, rest *Record, from int64) error {
	l := sc.list
	if err := l.end(); err != nil {
		return err
	}
	key := blobKey(sc.row.ID, fmt.Sprintf("%d.list", l.mark.Ordinal))
	if err := sc.s.putBlob(ctx, key, l.join); err != nil {
		return err
	}
	if rest != nil {
		if from > 0 {
			l.mark.Scan.Rest = &restMark{
				Path: []byte(rest.Path), Size: rest.Size, Modified: rest.Modified, ID: rest.ID, Source: rest.Source, From: from,
			}
		} else {
			l.mark.Scan.Rest = nil
		}
	}
	if err := sc.s.chunkFound(ctx, sc.row, l.mark, key, rest == nil); err != nil {
		return err
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return err
	}
	if rest == nil {
		return nil
	}
	sc.cut.begin()
	l.mark = listMark{Ordinal: l.mark.Ordinal + 1, Scan: l.mark.Scan}
	return l.begin()
}

// join writes the segments as one catalog.
func (l *list) join(w io.Writer) error {
	if l.mark.Segments == 1 {
		f, err := os.Open(l.path(0))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
	joined := NewCatalogWriter(w)
	for n := range l.mark.Segments {
		c, done, err := openCatalogFile(l.path(n))
		if err != nil {
			return err
		}
		for r, err := range c.From("") {
			if err == nil {
				err = joined.Add(r)
			}
			if err != nil {
				done()
				return err
			}
		}
		done()
	}
	return joined.Close()
}

// chunkFound writes the row of a chunk and how far the scan has come. The chunk
// before is known not to be the last now, and may be packed.
func (s *Service) chunkFound(ctx context.Context, row *preparationRow, l listMark, key string, last bool) error {
	now := s.now()
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		stage, next := Scanning, *row
		if last {
			stage = Packing
		}
		f := l.Scan.Found
		err := next.update(ctx, tx, []State{Active, Failed}, now,
			"chunks = ?, stage = ?, scan = ?, files = ?, bytes = ?, carried = ?, skipped = skipped + ?, reason = '', attempt = 0, next_attempt_at = NULL",
			l.Ordinal, stage, asText(l.Scan), f.Files, f.Bytes, f.Carried, f.Skipped-row.Scan.Found.Skipped)
		if err != nil {
			return err
		}
		c := chunkRow{
			ProjectID: row.ProjectID, PreparationID: row.ID, Ordinal: l.Ordinal, Last: last, State: ChunkWaiting,
			Files: l.Files, Bytes: l.Bytes, First: l.First, Final: l.Final, List: key, UpdatedAt: now,
		}
		if err := insertChunk(ctx, tx, &c); err != nil {
			return err
		}
		if err := s.enqueueBefore(ctx, tx, next, c); err != nil {
			return err
		}
		*row = next
		if !last {
			return nil
		}
		if err := announce(ctx, tx, next, "scanned"); err != nil {
			return err
		}
		return s.advance(ctx, tx, row)
	})
}

func (s *Service) enqueueBefore(ctx context.Context, tx *db.Tx, p preparationRow, c chunkRow) error {
	if c.Ordinal == 1 {
		return nil
	}
	before, err := chunkByOrdinal(ctx, tx, p.ID, c.Ordinal-1)
	if err != nil || before.State != ChunkWaiting {
		return err
	}
	return job.Enqueue(ctx, s.jobs, tx, packKind, chunkArgs{before.ID})
}

// tellScan writes how much a scan has come across.
func (s *Service) tellScan(ctx context.Context, row *preparationRow, f found) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		return row.update(ctx, tx, []State{Active, Failed}, s.now(), "files = ?, bytes = ?, carried = ?, reason = '', next_attempt_at = NULL", f.Files, f.Bytes, f.Carried)
	})
}
