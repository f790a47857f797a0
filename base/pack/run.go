package pack

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// ErrFull is what put of Job.Tail returns when the piece has no room for a
// block.
var ErrFull = fault.New(fault.Exhausted, "the piece is full")

// Job says what to pack, from where, and whereto.
type Job struct {
	// Entries yields the entries from number from on: in byte order of their
	// paths, a directory's ending in a slash, the parts of one file in the order
	// of their offsets. It is called again after an interruption and must yield
	// the same; of a run in another directory that has other entries or settings
	// nothing is taken over.
	Entries func(from int64) iter.Seq2[Entry, error]
	Open    Opener
	// Dir is the working directory, for this job alone: what an interrupted run
	// goes on from, and the finished index. Sweep removes it.
	Dir string
	// Export is the directory that <piece cid>.car is written to; "" writes none.
	Export string
	// Tail, which may be nil, puts further blocks into the piece, after the files
	// and the piece's own directories. A block that is there already is not put
	// twice. It may be called again for the same piece after an interruption. An
	// error ends the run, but after ErrFull it may return nil.
	Tail func(ctx context.Context, packed Outcomes, put func(blocks.Block) error) error
	Settings
	// Temporary is for a run that nobody wants to go on from when the machine has
	// lost its power: nothing in Dir waits for the disk. A CAR that is written
	// does, at its end.
	Temporary bool
	// Progress, which may be nil, is told how many entries are done and how many
	// of their bytes, since the beginning of the piece.
	Progress func(entries, bytes int64)
}

// Settings decide, beside the entries, what the piece is.
type Settings struct {
	Profile    dag.Profile // balanced, with raw leaves; the zero Profile is dag.DefaultProfile
	MaxPadded  int64       // padded size in bytes that the piece must not exceed: a power of two
	MinPadded  int64       // a smaller piece is padded up to this size; 0 leaves it
	NoDedup    bool        // keep equal leaves each
	Workers    int         // share 50 MiB, from three on; 0 is one more than there are processors, at most 48 work
	Readers    int         // small files that a worker reads at once; 0 is 1, right for local files
	Checkpoint int64       // bytes between points to go on from; 0 is 1 GiB
}

// Made is a finished piece.
type Made struct {
	Piece    commp.Piece
	Root     cid.Cid // of the CAR: a directory of everything in the piece
	CARSize  int64
	Blocks   int64
	Files    int64  // entries packed, directories aside
	Bytes    int64  // of these files that are in the piece
	Skipped  int64  // entries left out
	Index    string // path of the index, in Job.Dir
	CAR      string // path of the CAR; "" if none was written
	Outcomes Outcomes
}

// Run packs. A run that ended with an error goes on where it was when it is
// called again with the same job; one that was finished returns the same Made.
// The errors are fault.Invalid for a job that cannot be packed (entries out of
// order, or more than MaxPadded holds), fault.Unavailable when a source is,
// fault.Exhausted when a disk is full, fault.Conflict when another run is at
// work in Dir.
func Run(ctx context.Context, j Job) (Made, error) { return run(ctx, j, batchBytes) }

// run is Run with batches of at most a size.
func run(ctx context.Context, j Job, batch int) (Made, error) {
	if j.Profile.ChunkSize == 0 {
		j.Profile = dag.Profiles()[0]
	}
	if err := j.check(); err != nil {
		return Made{}, err
	}
	lock, err := lockDir(j.Dir)
	if err != nil {
		return Made{}, err
	}
	defer lock.Close()
	p := newPacker(ctx, j)
	p.taker.batch = min(p.taker.batch, batch)
	defer p.close()
	made, err := p.run(ctx)
	if err != nil && diskFull(err) && !fault.Is(err, fault.Exhausted) {
		err = diskError(err, j.Dir, 0)
	}
	return made, fault.Wrap(err, "pack")
}

func (j *Job) check() error {
	_, err := dag.NewFileBuilder(j.Profile, 0, 0, 1) // refuses the profile
	switch {
	case err != nil:
		return err
	case j.MaxPadded < commp.MinPaddedSize || j.MaxPadded&(j.MaxPadded-1) != 0 || commp.MaxRawSize(uint64(j.MaxPadded)) > uint64(commp.MaxTreeRaw):
		return fault.New(fault.Invalid, "piece of %d padded bytes: want a power of two from %d to %d", j.MaxPadded, commp.MinPaddedSize, int64(1)<<40)
	case j.MinPadded != 0 && (j.MinPadded < commp.MinPaddedSize || j.MinPadded&(j.MinPadded-1) != 0 || j.MinPadded > j.MaxPadded):
		return fault.New(fault.Invalid, "least piece of %d padded bytes: want a power of two from %d to %d", j.MinPadded, commp.MinPaddedSize, j.MaxPadded)
	case j.Dir == "":
		return fault.New(fault.Invalid, "pack: no working directory is named")
	}
	return nil
}

// Sweep removes a working directory and the half-written CAR that belongs to
// it, wherever that is. A finished CAR stays. A run at work there is
// fault.Conflict.
func Sweep(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := removeCAR(dir); err != nil {
		return fault.Wrap(err, "sweep %s", dir)
	}
	return fault.Wrap(os.RemoveAll(dir), "sweep %s", dir)
}

// lockDir makes a working directory and takes it for this process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError(err, dir, 0)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError(err, dir, 0)
	}
	mine, err := lockFile(f)
	if err == nil && !mine {
		err = fault.New(fault.Conflict, "working directory %s: another run is at work in it", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
