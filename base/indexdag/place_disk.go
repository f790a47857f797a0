package indexdag

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// carDirectory is a directory of CARs named <piece cid>.car. Blocks are found
// in all of its CARs, each of which is looked through once, when it is needed:
// those with the block for a root first, then the smaller before the larger.
type carDirectory struct {
	dir string

	mu     sync.Mutex // for the list
	listed bool
	cars   []*localCAR
	pieces map[cid.Cid]string // path by piece CID of either version

	looking sync.Mutex // for what is in the CARs
}

// localCAR is a CAR and, once it was looked through, where its blocks are.
type localCAR struct {
	path  string
	size  int64
	roots []cid.Cid
	found *sections
}

func newCARDirectory(dir string) (*carDirectory, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, diskError(err)
	}
	if !info.IsDir() {
		return nil, fault.New(fault.Invalid, "%s: is not a directory; name the one the CARs are in", dir)
	}
	return &carDirectory{dir: dir}, nil
}

func (d *carDirectory) String() string { return d.dir }

// list reads which CARs there are, once.
func (d *carDirectory) list() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listed {
		return nil
	}
	names, err := os.ReadDir(d.dir)
	if err != nil {
		return diskError(err)
	}
	d.pieces = map[cid.Cid]string{}
	for _, n := range names {
		base, isCAR := strings.CutSuffix(n.Name(), ".car")
		info, err := os.Stat(filepath.Join(d.dir, n.Name()))
		if !isCAR || err != nil || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(d.dir, n.Name())
		d.cars = append(d.cars, &localCAR{path: path, size: info.Size()})
		c, _, err := commp.ParseCID(base)
		if err != nil {
			continue
		}
		d.pieces[c] = path
		if v1, _, err := commp.CIDv1(c); err == nil {
			d.pieces[v1] = path
		}
	}
	slices.SortStableFunc(d.cars, func(a, b *localCAR) int { return cmp.Compare(a.size, b.size) })
	d.listed = true
	return nil
}

func (d *carDirectory) Range(_ context.Context, piece cid.Cid, offset, length int64) (io.ReadCloser, error) {
	if err := d.list(); err != nil {
		return nil, err
	}
	path, ok := d.pieces[piece]
	if v1, _, err := commp.CIDv1(piece); !ok && err == nil {
		path, ok = d.pieces[v1]
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "no %s.car", piece)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, diskError(err)
	}
	return limited{io.NewSectionReader(f, offset, length), f}, nil
}

func (d *carDirectory) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if err := d.list(); err != nil {
		return nil, err
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	for _, car := range d.inOrder(c) {
		if car.found == nil {
			var err error
			if car.found, err = car.scan(ctx); ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				car.found = &sections{broken: err} // a broken CAR hides none of the others
			}
		}
		for _, at := range car.found.of(c) {
			data, err := car.read(at.offset, int64(at.size))
			if err == nil && verify(c, data) == nil {
				return data, nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "no CAR here has it")
}

// inOrder returns the CARs, most likely holders first.
func (d *carDirectory) inOrder(c cid.Cid) []*localCAR {
	rank := func(car *localCAR) int {
		if car.roots == nil {
			car.readRoots()
		}
		switch {
		case slices.Contains(car.roots, c):
			return 0
		case car.found != nil:
			return 1
		}
		return 2
	}
	out := slices.Clone(d.cars)
	slices.SortStableFunc(out, func(a, b *localCAR) int { return rank(a) - rank(b) })
	return out
}

func (l *localCAR) readRoots() {
	l.roots = []cid.Cid{}
	f, err := os.Open(l.path)
	if err != nil {
		return
	}
	defer f.Close()
	if r, err := dag.NewCARReader(f, dag.CAROptions{}); err == nil {
		l.roots = append(l.roots, r.Roots...)
	}
}

func (l *localCAR) scan(ctx context.Context) (*sections, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return scanSections(ctx, l.size, func(p []byte, at int64) (int, error) { return f.ReadAt(p, at) })
}

func (l *localCAR) read(offset, size int64) ([]byte, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, size)
	_, err = f.ReadAt(data, offset)
	return data, err
}

// Record reads <name>.ipns-record.
func (d *carDirectory) Record(_ context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.dir, name+".ipns-record"))
	if err != nil {
		return nil, diskError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(data) > maxRecord {
		err = fault.New(fault.Invalid, "%s: more than %d bytes", f.Name(), maxRecord)
	}
	return data, err
}
