package dataset

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// remoteReaders is how many small files of a remote source a worker asks for at
// once: each takes a round trip or two.
const remoteReaders = 8

// packing is one run over a chunk.
type packing struct {
	s     *Service
	p     preparationRow
	c     chunkRow
	prof  dag.Profile
	list  *Catalog
	at    map[int64]string // where each source is in the dataset
	open  *opener
	ahead int // small files that are read at once; 0 is one after the other
	meter *meter
}

func (s *Service) packChunk(ctx context.Context, p preparationRow, c chunkRow, m *meter) error {
	list, done, err := s.openCatalog(ctx, c.List)
	if err != nil {
		return err
	}
	defer done()
	k := &packing{s: s, p: p, c: c, list: list, at: map[int64]string{}, open: &opener{s: s, rules: p.Rules}, meter: m}
	if k.prof, err = dag.ProfileNamed(""); err != nil {
		return err
	}
	sources, err := sourcesOf(ctx, s.db.Read(), p.DatasetID)
	if err != nil {
		return err
	}
	for _, src := range sources {
		k.at[src.ID] = src.At
		if remote(src.URL) {
			k.ahead = remoteReaders
		}
	}
	if err := k.mayExport(ctx); err != nil {
		return err
	}
	made, root, err := k.run(ctx)
	if err != nil {
		return k.open.explain(err)
	}
	if err := k.export(ctx, made); err != nil {
		return err
	}
	return k.keep(ctx, made, root)
}

// run makes the pieces of a chunk: one, of the last chunk as many as the nodes
// above all chunks take, or none if everything was packed before.
func (k *packing) run(ctx context.Context) (made []pack.Made, root string, err error) {
	if !k.c.Last || k.all() {
		m, err := pack.Run(ctx, k.job(0))
		if k.all() && err == nil {
			root = m.Root.String()
		}
		return []pack.Made{m}, root, err
	}
	if k.c.Files == 0 && k.p.Prior != 0 {
		before, err := rowOfPreparation(ctx, k.s.db.Read(), k.p.Prior)
		if err != nil {
			return nil, "", err
		}
		spine := &spine{k: k}
		if err := spine.write(ctx, k.packed(none), nil); err != nil || spine.Root == before.Root {
			return nil, spine.Root, err
		}
	}
	for spine := (&spine{k: k}); ; spine = spine.next() {
		j := k.job(len(made))
		if spine.piece > 0 {
			j.Entries, j.Progress = func(int64) iter.Seq2[pack.Entry, error] { return func(func(pack.Entry, error) bool) {} }, nil
		}
		j.Tail = spine.tail
		m, err := pack.Run(ctx, j)
		if err != nil {
			return nil, "", err
		}
		if spine.piece == 0 {
			spine.first = m.Outcomes
		}
		made = append(made, m)
		if err := spine.load(); err != nil || !spine.Full {
			return made, spine.Root, err
		}
	}
}

// all reports whether the chunk is all of the dataset, its files as they are:
// then the piece's own directories are the dataset's.
func (k *packing) all() bool {
	return k.c.Last && k.c.Ordinal == 1 && k.p.Prior == 0 && !k.p.Rules.encoded()
}

// job is the n-th piece of the chunk.
func (k *packing) job(n int) pack.Job {
	rules := k.p.Rules
	least := rules.MinPieceSize
	if least == 0 {
		least = min(k.s.settings.MinPieceSize, rules.PieceSize)
	}
	return pack.Job{
		Entries: k.entries, Open: k.open, Dir: k.dir(n), Export: k.exportDir(), Progress: k.meter.progress,
		Temporary: k.s.settings.Temporary,
		Settings: pack.Settings{
			Profile: k.prof, MaxPadded: rules.PieceSize, MinPadded: least, NoDedup: rules.NoDedup,
			Workers: k.s.settings.Workers, Readers: k.ahead, Checkpoint: k.s.settings.Checkpoint,
		},
	}
}

func (k *packing) dir(n int) string {
	return filepath.Join(k.s.chunkDir(k.c), strconv.Itoa(n))
}

// wanted reports whether a record becomes an entry. Directories need be named
// only where a piece may be the whole dataset.
func (k *packing) wanted(r Record) bool {
	return r.State == FilePending && (r.Kind != KindDirectory || k.p.Prior == 0)
}

// entries yields what the chunk's list says is to pack.
func (k *packing) entries(from int64) iter.Seq2[pack.Entry, error] {
	return func(yield func(pack.Entry, error) bool) {
		n := int64(0)
		for r, err := range k.list.From("") {
			if err != nil {
				yield(pack.Entry{}, err)
				return
			}
			if !k.wanted(r) {
				continue
			}
			if n++; n > from && !yield(k.entry(r), nil) {
				return
			}
		}
	}
}

func (k *packing) entry(r Record) pack.Entry {
	e := pack.Entry{Origin: origin(r.Source), Path: r.Path, ID: r.ID, Size: r.Size, Length: r.Size, Target: r.Target}
	if at := k.at[r.Source]; at != "" {
		e.At = strings.TrimPrefix(r.Path, at+"/")
	}
	switch r.Kind {
	case KindLink:
		e.Kind, e.Size, e.Length = pack.Symlink, 0, 0
	case KindDirectory:
		e.Kind, e.Size, e.Length = pack.Directory, 0, 0
	}
	if len(r.Parts) > 0 {
		e.Offset, e.Length = r.Parts[0].Offset, r.Parts[0].Length
	}
	if r.Kind == KindFile && k.p.Rules.encoded() {
		e.Size = k.p.Rules.most(e.Length)
		if len(r.Parts) > 0 {
			e.Span = e.Length
		}
		e.Length = -1
	}
	return e
}

// none is the outcomes of nothing.
func none(func(pack.Outcome, error) bool) {}

// packed yields the chunk's list with what became of its entries.
func (k *packing) packed(outcomes pack.Outcomes) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		next, stop := iter.Pull2(outcomes)
		defer stop()
		for r, err := range k.list.From("") {
			if err == nil && k.wanted(r) {
				o, err2, ok := next()
				switch {
				case !ok:
					err = fault.New(fault.Internal, "chunk %d: %q has no outcome", k.c.ID, r.Path)
				case err2 != nil:
					err = err2
				default:
					err = k.became(&r, o)
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// became writes an outcome into a record.
func (k *packing) became(r *Record, o pack.Outcome) error {
	if o.Skipped != "" {
		// The source says which file it speaks of, and so does the record.
		why := strings.TrimPrefix(o.Skipped, strconv.Quote(cmp.Or(k.entry(*r).At, r.Path))+": ")
		r.State, r.Reason = FileSkipped, cleanText(why, maxReason)
		return nil
	}
	r.State = FilePacked
	if r.Kind == KindDirectory {
		return nil
	}
	part := Part{Piece: k.c.Ordinal, Length: r.Size, CAROffset: o.CAROffset, CARLength: o.CARLength}
	if len(r.Parts) == 0 {
		r.CID, r.TreeSize = o.Link.Cid, o.Link.TreeSize
		part.CID = r.CID
		if r.Kind == KindFile {
			part.Length = o.Link.Size // of an encoded file, what it has come to
		}
		r.Parts = []Part{part}
		return nil
	}
	if o.Link.Cid.Defined() { // a stream, whose length its top tells
		o.Tops = []dag.Top{{Link: o.Link}}
	}
	file, err := dag.PartFile(k.prof, o.Tops, discard)
	if err != nil {
		return fault.Wrap(err, "%q", r.Path)
	}
	part.Offset, part.Length, part.CID, part.Tops = r.Parts[0].Offset, r.Parts[0].Length, file.Cid, o.Tops
	r.Parts = []Part{part}
	return nil
}

// keep makes the pieces known: their indexes, what became of each file, and
// then all rows at once.
func (k *packing) keep(ctx context.Context, made []pack.Made, root string) error {
	outcomes := pack.Outcomes(none)
	if len(made) > 0 {
		outcomes = made[0].Outcomes
	}
	key := blobKey(k.p.ID, fmt.Sprintf("%d-%d.packed", k.c.Ordinal, k.c.Epoch))
	err := k.s.putBlob(ctx, key, func(w io.Writer) error {
		_, err := writeCatalog(w, k.packed(outcomes))
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range made {
		if err := k.s.pieces.KeepIndex(ctx, m.Piece.CIDv2.String(), m.Index); err != nil {
			return err
		}
	}
	return k.s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return k.commit(ctx, tx, made, root, key) })
}

func (k *packing) commit(ctx context.Context, tx *db.Tx, made []pack.Made, root, outcome string) error {
	p, c, now := k.p, k.c, k.s.now()
	pieces, cars, skipped, files, bytes := []int64{}, []string{}, int64(0), int64(0), int64(0)
	for _, m := range made {
		skipped, files, bytes = skipped+m.Skipped, files+m.Files, bytes+m.Bytes
		if m.CAR != "" {
			cars = append(cars, m.CAR)
		}
	}
	if p.Rules.encoded() {
		bytes = c.Bytes // they were counted as they came out
	}
	if err := k.s.oneDone(ctx, tx, &p, skipped); err != nil {
		return err
	}
	for _, m := range made {
		piece, err := k.s.pieces.Adopt(ctx, tx, p.ProjectID, holderOfChunk(c.ID), m)
		if err != nil {
			return err
		}
		pieces = append(pieces, piece.ID)
	}
	err := c.update(ctx, tx, []ChunkState{ChunkPacking}, c.Epoch, now,
		"state = ?, outcome = ?, pieces = ?, cars = ?, root = ?, skipped = ?, done_files = ?, done_bytes = ?, reason = '', attempt = 0, next_attempt_at = NULL, finished_at = ?",
		ChunkPacked, outcome, asText(pieces), asText(cars), root, skipped, files, bytes, now)
	if err != nil {
		return err
	}
	return announceChunk(ctx, tx, c)
}
