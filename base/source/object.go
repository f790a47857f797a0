package source

import (
	"bytes"
	"context"
	"io"

	rclone "github.com/rclone/rclone/fs"

	"github.com/firth-project/firth/base/fault"
)

// window is how much is asked for at once behind the first byte of a file,
// where the backend does not show what range the server sent: all of it is
// read and its length held against what was asked before a byte is given out.
const window = 4 << 20

func (r *remote) openObject(ctx context.Context, path, id string) (content, Item, error) {
	ctx = naming(ctx, "%q", path)
	var o rclone.Object
	err := r.set.try(ctx, func() (err error) {
		o, err = r.tree.NewObject(r.with(ctx), standard(path))
		return remoteFault(err)
	})
	if err != nil {
		return nil, Item{}, err
	}
	found := r.itemOfObject(o, path)
	if err := expect(id, found); err != nil {
		return nil, Item{}, err
	}
	if found.Unreadable != "" {
		return nil, Item{}, fault.New(fault.Invalid, "%s", found.Unreadable)
	}
	file := &remoteFile{ctx: ctx, set: r.set, size: found.Size}
	file.dial = func(ctx context.Context, off int64) (*stream, error) {
		return r.dial(r.with(ctx), o, found.Size, off)
	}
	file.same = func(ctx context.Context) error {
		now, err := r.tree.NewObject(r.with(ctx), standard(path))
		if err != nil {
			return remoteFault(err)
		}
		return expect(found.ID(), r.itemOfObject(now, path))
	}
	return file, found, nil
}

// dial asks for an object from a byte on.
func (r *remote) dial(ctx context.Context, o rclone.Object, size, off int64) (*stream, error) {
	if off == 0 || r.kind == "sftp" { // SFTP reads at positions: there is no range to get wrong
		var options []rclone.OpenOption
		if off > 0 {
			options = append(options, &rclone.SeekOption{Offset: off})
		}
		body, err := o.Open(ctx, options...)
		return &stream{body, off, size}, remoteFault(err)
	}
	end := min(off+window, size)
	body, err := o.Open(ctx, &rclone.RangeOption{Start: off, End: end - 1})
	if err != nil {
		return nil, remoteFault(err)
	}
	defer body.Close()
	b := make([]byte, end-off+1)
	n, err := io.ReadFull(body, b)
	switch {
	case err == nil:
		return nil, fault.New(fault.Invalid, "the server sends more than the %d bytes asked for at %d: it ignores Range; it can be read in one go only", end-off, off)
	case err != io.ErrUnexpectedEOF && err != io.EOF || int64(n) < end-off:
		return nil, dropped(err)
	}
	return &stream{io.NopCloser(bytes.NewReader(b[:n])), off, end}, nil
}
