package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/firth-project/firth/base/fault"
)

// same compares two files, links or trees byte by byte: names, what each thing
// is, link targets, contents. The first difference is an error that names it.
// The top of a may be a link to what is compared.
func same(ctx context.Context, a, b string) error {
	info, err := os.Stat(a)
	if err != nil {
		return pathFault(a, err)
	}
	return sameThing(ctx, a, b, info.Mode().Type())
}

func sameThing(ctx context.Context, a, b string, kind os.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	other, err := os.Lstat(b)
	if err != nil {
		return different(a, "is missing in what came back")
	}
	if other.Mode().Type() != kind {
		return different(a, "came back as something else")
	}
	switch {
	case kind.IsDir():
		return sameDirectory(ctx, a, b)
	case kind&os.ModeSymlink != 0:
		was, err := os.Readlink(a)
		if is, err2 := os.Readlink(b); err != nil || err2 != nil || was != is {
			return different(a, "points elsewhere in what came back")
		}
		return nil
	}
	return sameFile(a, b)
}

func sameDirectory(ctx context.Context, a, b string) error {
	in, err := os.ReadDir(a)
	if err != nil {
		return pathFault(a, err)
	}
	out, err := os.ReadDir(b)
	if err != nil {
		return err
	}
	if len(in) != len(out) {
		return different(a, "has another number of entries in what came back")
	}
	for _, e := range in {
		if err := sameThing(ctx, filepath.Join(a, e.Name()), filepath.Join(b, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func sameFile(a, b string) error {
	x, err := os.Open(a)
	if err != nil {
		return pathFault(a, err)
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return err
	}
	defer y.Close()
	info, err := x.Stat()
	if err != nil {
		return pathFault(a, err)
	}
	part := min(info.Size(), 256<<10) + 1 // small files are many: no more than they need
	bufA, bufB := make([]byte, part), make([]byte, part)
	for {
		n, errA := io.ReadFull(x, bufA)
		m, errB := io.ReadFull(y, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return different(a, "came back with other bytes")
		}
		ended := []error{io.EOF, io.ErrUnexpectedEOF}
		if slices.Contains(ended, errA) && slices.Contains(ended, errB) {
			return nil
		}
		if errA != nil || errB != nil {
			return different(a, "could not be compared to its end")
		}
	}
}

func different(path, how string) error {
	return fault.New(fault.Internal, "%s: %s", path, how)
}
