package block

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
)

// disk is a file system in memory that knows what a loss of power would take.
type disk struct {
	now     map[string]*inode // names as processes see them
	durable map[string]*inode // names as the platter has them
}

type inode struct {
	data   []byte
	synced []byte
}

func newDisk() *disk { return &disk{now: map[string]*inode{}, durable: map[string]*inode{}} }

// op is one call that changes the disk.
type op struct {
	kind     string // create write sync truncate rename remove syncdir
	name, to string
	off      int64
	data     []byte
}

// do applies the first n bytes of an op; all of it when n is negative.
func (d *disk) do(o op, n int) {
	switch o.kind {
	case "create":
		d.now[o.name] = &inode{}
	case "write":
		data := o.data
		if n >= 0 {
			data = data[:n]
		}
		in := d.now[o.name]
		if end := int(o.off) + len(data); end > len(in.data) {
			in.data = append(in.data, make([]byte, end-len(in.data))...)
		}
		copy(in.data[o.off:], data)
	case "sync":
		in := d.now[o.name]
		in.synced = slices.Clone(in.data)
	case "truncate":
		d.now[o.name].data = d.now[o.name].data[:o.off:o.off]
	case "rename":
		d.now[o.to] = d.now[o.name]
		delete(d.now, o.name)
	case "remove":
		delete(d.now, o.name)
	case "syncdir":
		for name := range d.durable {
			if path.Dir(name) == o.name {
				delete(d.durable, name)
			}
		}
		for name, in := range d.now {
			if path.Dir(name) == o.name {
				d.durable[name] = in
			}
		}
	}
}

// clone is the same disk once more, with what is synced and what is not.
func (d *disk) clone() *disk {
	out := newDisk()
	copies := map[*inode]*inode{}
	copyOf := func(in *inode) *inode {
		if copies[in] == nil {
			copies[in] = &inode{data: slices.Clone(in.data), synced: slices.Clone(in.synced)}
		}
		return copies[in]
	}
	for name, in := range d.now {
		out.now[name] = copyOf(in)
	}
	for name, in := range d.durable {
		out.durable[name] = copyOf(in)
	}
	return out
}

// afterKill is the disk as the next process sees it when only this one died.
func (d *disk) afterKill() *disk {
	out := newDisk()
	for name, in := range d.now {
		c := &inode{data: slices.Clone(in.data), synced: slices.Clone(in.data)}
		out.now[name], out.durable[name] = c, c
	}
	return out
}

// afterPowerCut is the disk when what was not synced is lost, or, with rng, is
// there in part: any of its sectors, and zeros for the others.
func (d *disk) afterPowerCut(rng *rand.Rand) *disk {
	const sector = 16
	out := newDisk()
	for name, in := range d.durable {
		data := slices.Clone(in.synced)
		for off := 0; rng != nil && off < len(in.data); off += sector {
			end := min(off+sector, len(in.data))
			if rng.IntN(2) == 0 {
				continue
			}
			if end > len(data) {
				data = append(data, make([]byte, end-len(data))...)
			}
			copy(data[off:], in.data[off:end])
		}
		c := &inode{data: data, synced: slices.Clone(data)}
		out.now[name], out.durable[name] = c, c
	}
	return out
}

// memFiles is files on a disk. It records what it does, and fails on demand.
type memFiles struct {
	mu    sync.Mutex
	d     *disk
	ops   []op
	room  int // bytes that writes may still take; negative: no limit
	fail  func(o op) error
	count map[string]int // calls by kind, reads too
}

func newMemFiles(d *disk) *memFiles { return &memFiles{d: d, room: -1, count: map[string]int{}} }

func (m *memFiles) String() string { return "the disk" }

func (m *memFiles) run(o op) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.locked(o)
}

func (m *memFiles) locked(o op) error {
	m.count[o.kind]++
	if m.fail != nil {
		if err := m.fail(o); err != nil {
			return err
		}
	}
	var err error
	if o.kind == "write" && m.room >= 0 {
		if len(o.data) > m.room {
			o.data, err = o.data[:m.room], syscall.ENOSPC
		}
		m.room -= len(o.data)
	}
	m.ops = append(m.ops, o)
	m.d.do(o, -1)
	return err
}

func (m *memFiles) create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.d.now[name]; ok {
		return nil, fs.ErrExist
	}
	if err := m.locked(op{kind: "create", name: name}); err != nil {
		return nil, err
	}
	return &memFile{m: m, in: m.d.now[name], name: name}, nil
}

func (m *memFiles) open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count["open"]++
	in, ok := m.d.now[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &memFile{m: m, in: in, name: name}, nil
}

func (m *memFiles) rename(from, to string) error {
	return m.run(op{kind: "rename", name: from, to: to})
}

func (m *memFiles) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.d.now[name]; !ok {
		return fs.ErrNotExist
	}
	return m.locked(op{kind: "remove", name: name})
}

func (m *memFiles) list(folder string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.d.now {
		if path.Dir(name) == folder {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFiles) mkdir(string) error { return nil }

func (m *memFiles) sync(folder string) error { return m.run(op{kind: "syncdir", name: folder}) }

// calls returns how often the store went to the disk so far.
func (m *memFiles) calls() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.count)
}

type memFile struct {
	m      *memFiles
	in     *inode
	name   string
	closed bool
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.count["read"]++
	f.m.count["bytes read"] += len(p)
	if f.closed {
		return 0, fs.ErrClosed
	}
	if off > int64(len(f.in.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.in.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// writeAt records each buffer as an op, so that a cut may come between them.
func (f *memFile) writeAt(bufs [][]byte, off int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.d.now[f.name] != f.in {
		return fmt.Errorf("write to %s, which has no name any more", f.name)
	}
	for _, b := range bufs {
		if err := f.m.locked(op{kind: "write", name: f.name, off: off, data: slices.Clone(b)}); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func (f *memFile) append(bufs [][]byte, off int64) error { return f.writeAt(bufs, off) }

func (f *memFile) reserve(int64, int64) {}

func (f *memFile) finish(int64) {}

func (f *memFile) sync() error { return f.m.run(op{kind: "sync", name: f.name}) }

func (f *memFile) truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.d.now[f.name] != f.in || size == int64(len(f.in.data)) {
		return nil
	}
	return f.m.locked(op{kind: "truncate", name: f.name, off: size})
}

func (f *memFile) size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.in.data)), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
