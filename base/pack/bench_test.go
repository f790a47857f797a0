package pack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// disk is files on the disk, opened as a local source opens them.
type disk string

func (d disk) Open(_ context.Context, s Source) (File, error) {
	f, err := os.Open(string(d) + "/" + s.Path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && identity(info) != s.ID {
		err = os.ErrInvalid
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &diskFile{f, info}, nil
}

type diskFile struct {
	*os.File
	info os.FileInfo
}

func (f *diskFile) Check() error {
	info, err := f.Stat()
	if err == nil && (info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime())) {
		err = os.ErrInvalid
	}
	return err
}

func (d disk) write(tb testing.TB, path string, data []byte) Entry {
	name := filepath.Join(string(d), path)
	must(tb, os.MkdirAll(filepath.Dir(name), 0o700))
	must(tb, os.WriteFile(name, data, 0o600))
	info := ok(os.Stat(name))(tb)
	return Entry{Origin: "disk", Path: path, ID: identity(info), Size: info.Size(), Length: info.Size()}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRun packs from the page cache: one large file without and with its
// CAR, and many small files. CPU is of the whole process, user and system.
func BenchmarkRun(b *testing.B) {
	d := disk(b.TempDir())
	large := []Entry{d.write(b, "large", noise(1, 256<<20))}
	var small []Entry
	for i := range 20_000 {
		small = append(small, d.write(b, fmt.Sprintf("%03d/%05d", i/200, i), noise(uint64(i), 4096)))
	}
	for _, c := range []struct {
		name    string
		entries []Entry
		export  bool
	}{{"large", large, false}, {"large with CAR", large, true}, {"20000 of 4 KiB", small, false}} {
		b.Run(c.name, func(b *testing.B) {
			var bytes, spent float64
			for b.Loop() {
				j := Job{Entries: listed(c.entries), Open: d, Dir: filepath.Join(b.TempDir(), "work"), Settings: Settings{MaxPadded: 1 << 30}}
				if c.export {
					j.Export = b.TempDir()
				}
				before := cpuTime()
				m := ok(Run(b.Context(), j))(b)
				spent += (cpuTime() - before).Seconds()
				bytes += float64(m.Bytes)
				b.StopTimer()
				must(b, Sweep(j.Dir))
				if m.CAR != "" {
					must(b, os.Remove(m.CAR))
				}
				b.StartTimer()
			}
			b.ReportMetric(bytes/spent/(1<<20), "MiB/cpu-s")
			b.ReportMetric(float64(b.N*len(c.entries))/spent, "files/cpu-s")
		})
	}
}

// BenchmarkTiny packs next to nothing: what a run costs in itself.
func BenchmarkTiny(b *testing.B) {
	w := tinyWorld()
	entries := w.entries()
	for b.Loop() {
		j := Job{Entries: listed(entries), Open: w, Dir: filepath.Join(b.TempDir(), "work"), Settings: Settings{MaxPadded: 1 << 30}}
		ok(Run(b.Context(), j))(b)
	}
}
