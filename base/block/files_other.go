//go:build !linux

package block

import "errors"

func (f *osFile) writeAt(bufs [][]byte, off int64) error {
	for _, b := range bufs {
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func (f *osFile) append(bufs [][]byte, off int64) error { return f.writeAt(bufs, off) }

func (f *osFile) sync() error { return f.Sync() }

func (f *osFile) reserve(off, n int64) {}

// directFile is of use on Linux only.
type directFile struct{}

func (directFile) close() error { return errors.Join() }
