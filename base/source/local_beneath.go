package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openBeneath opens a file or directory where there is no openat2: os.Root keeps the
// lookup below the root, and the file must be the one that Lstat saw, which no
// link is.
func openBeneath(root, path string) (*os.File, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	path = filepath.FromSlash(path)
	before, err := r.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() && !before.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
	}
	f, err := r.Open(path)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
