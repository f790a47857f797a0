package indexdag

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"filippo.io/age"
	blocks "github.com/ipfs/go-block-format"
	"github.com/klauspost/compress/zstd"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// mkdir makes a directory, unless one is there. A link to one is none.
func (t *fetching) mkdir(name string) error {
	info, err := t.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return diskError(t.root.Mkdir(name, 0o777))
	case err != nil:
		return diskError(err)
	case !info.IsDir():
		return fault.New(fault.Conflict, "a %s is there, where a directory should be", kindOf(info))
	}
	return nil
}

func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}

// symlink makes a link, unless the same is there.
func (t *fetching) symlink(e Entry) error {
	name := t.local(e)
	if strings.IndexByte(e.Target, 0) >= 0 {
		return fault.New(fault.Invalid, "link to %.80q cannot be on a disk", e.Target)
	}
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return diskError(t.root.Symlink(e.Target, name))
	}
	if err != nil {
		return diskError(err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err := t.root.Readlink(name); err == nil && target == e.Target {
			return nil
		}
	}
	if info.IsDir() || !t.f.o.Overwrite {
		return inTheWay(info)
	}
	temp := tempName(name, "link")
	if err := t.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(err)
	}
	if err := t.root.Symlink(e.Target, temp); err != nil {
		return diskError(err)
	}
	return diskError(t.root.Rename(temp, name))
}

func inTheWay(info fs.FileInfo) error {
	if info.IsDir() {
		return fault.New(fault.Conflict, "a directory is in the way")
	}
	return fault.New(fault.Conflict, "another %s is in the way; --force replaces it", kindOf(info))
}

// there reports whether a file is there already and is that of the index. What
// is there otherwise is in the way, or will be replaced.
func (t *fetching) there(ctx context.Context, e Entry) (bool, error) {
	name := t.local(e)
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, diskError(err)
	}
	if info.Mode().IsRegular() && info.Size() == e.Size {
		if same, err := t.same(ctx, e, info); same || err != nil {
			return same, err
		}
	}
	if info.IsDir() || !t.f.o.Overwrite {
		return false, inTheWay(info)
	}
	return false, nil
}

// same compares a file with what the index says, by its CID. The CID of what
// was encrypted or compressed is that of other bytes: size and time decide.
func (t *fetching) same(ctx context.Context, e Entry, info fs.FileInfo) (bool, error) {
	if t.h.encoded() {
		return !e.ModTime.IsZero() && info.ModTime().Equal(e.ModTime), nil
	}
	prof, err := dag.ProfileNamed(t.h.Profile)
	if t.h.Profile == "" || err != nil || !e.Cid.Defined() {
		return false, nil
	}
	f, err := t.root.Open(t.local(e))
	if err != nil {
		return false, diskError(err)
	}
	defer f.Close()
	is, err := dag.AddFile(ctx, nowhere{}, f, prof)
	return err == nil && is.Cid == e.Cid, diskError(err)
}

// nowhere takes blocks whose CIDs are all that is wanted.
type nowhere struct{}

func (nowhere) PutMany(ctx context.Context, _ []blocks.Block) error { return ctx.Err() }

// outFile is a file that has not got its name yet.
type outFile struct {
	f          *os.File
	root       *os.Root
	path, temp string
}

// tempName is the name of a file that becomes another. It is always the same,
// so that one left by a process that was killed is used again.
func tempName(name, use string) string {
	sum := sha256.Sum256([]byte(use + "/" + path.Base(name)))
	return path.Join(path.Dir(name), ".firth-get-"+hex.EncodeToString(sum[:10]))
}

// create opens the temporary file of a name, empty, for this process alone.
func (t *fetching) create(name, use string) (*outFile, error) {
	temp := tempName(name, use)
	for range 3 {
		f, err := t.root.OpenFile(temp, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, diskError(err)
		}
		if !lock(f) {
			f.Close()
			break
		}
		// Somebody else may have given it its name, or it was a link.
		mine, err := f.Stat()
		now, gone := t.root.Lstat(temp)
		if err == nil && gone == nil && mine.Mode().IsRegular() && os.SameFile(mine, now) {
			return &outFile{f: f, root: t.root, path: name, temp: temp}, diskError(f.Truncate(0))
		}
		f.Close()
	}
	return nil, fault.New(fault.Conflict, "somebody else is getting it to the same place")
}

// sync makes a file durable, its time included.
func (o *outFile) sync(e Entry) error {
	if !e.ModTime.IsZero() {
		if err := o.root.Chtimes(o.temp, e.ModTime, e.ModTime); err != nil {
			return diskError(err)
		}
	}
	return diskError(o.f.Sync())
}

// name gives a file its name. What came there meanwhile stays, unless it is to
// be replaced.
func (t *fetching) name(o *outFile) error {
	if info, err := t.root.Lstat(o.path); err == nil && (info.IsDir() || !t.f.o.Overwrite) {
		return inTheWay(info)
	}
	return diskError(t.root.Rename(o.temp, o.path))
}

// discard removes what is of no use. It is told of before.
func (o *outFile) discard() {
	_ = o.root.Remove(o.temp)
	o.f.Close()
}

func discard(made []*outFile) {
	for _, o := range made {
		if o != nil {
			o.discard()
		}
	}
}

func (t *fetching) syncDir(dir string) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return diskError(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// encoded reports whether files are not packed as they are.
func (h Header) encoded() bool { return h.Compression != "" || h.Encryption != "" }

// opens makes sure that what was done to the files can be undone.
func (f *Fetcher) opens(h Header) error {
	switch {
	case h.Compression != "" && h.Compression != "zstd":
		return fault.New(fault.Invalid, "the dataset is compressed with %.40q; this program undoes zstd", h.Compression)
	case h.Encryption != "" && h.Encryption != "age":
		return fault.New(fault.Invalid, "the dataset is encrypted with %.40q; this program undoes age", h.Encryption)
	case h.Encryption != "" && len(f.o.Identities) == 0:
		return fault.New(fault.Forbidden, "the dataset is encrypted with age; name the file of the key that opens it with --identity")
	}
	return nil
}

// decode undoes encryption and compression into another file.
func (t *fetching) decode(e Entry, from *outFile) (*outFile, error) {
	out, err := t.create(from.path, "plain")
	if err != nil {
		return from, err
	}
	err = t.f.undo(t.h, io.NewSectionReader(from.f, 0, e.stored()), out.f, e.Size)
	if err != nil {
		out.discard()
		return from, err
	}
	from.discard()
	return out, nil
}

// undo undoes encryption and compression of what unpacks to size bytes.
func (f *Fetcher) undo(h Header, r io.Reader, w io.Writer, size int64) error {
	if h.Encryption != "" {
		var err error
		if r, err = age.Decrypt(r, f.o.Identities...); err != nil {
			return fault.New(fault.Forbidden, "decrypt: %w", err)
		}
	}
	if h.Compression != "" {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return fault.New(fault.Invalid, "decompress: %w", err)
		}
		defer z.Close()
		r = z
	}
	n, err := io.Copy(w, io.LimitReader(r, size+1)) // no more than was promised, whatever it unpacks to
	if err == nil && n != size {
		err = fault.New(fault.Invalid, "unpacks to other than the %d bytes the index says", size)
	}
	return diskError(err)
}
