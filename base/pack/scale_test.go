package pack

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// numbered is files that are made up from their number.
type numbered struct{ n int64 }

func (numbered) Check() error { return nil }
func (numbered) Close() error { return nil }

func (numbered) Open(_ context.Context, s Source) (File, error) {
	var n int64
	_, err := fmt.Sscan(s.ID, &n)
	return numbered{n}, err
}

func (f numbered) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = byte(f.n >> (i % 40))
	}
	if len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(f.n))
	}
	return len(p), nil
}

// TestScale packs 10^4, 10^5 and 10^6 files and compares what one costs.
func TestScale(t *testing.T) {
	if os.Getenv("FIRTH_TEST_LONG") == "" {
		t.Skip("FIRTH_TEST_LONG is not set")
	}
	for _, n := range []int64{1e4, 1e5, 1e6} {
		j := Job{Open: numbered{}, Dir: filepath.Join(t.TempDir(), "work"), Settings: Settings{MaxPadded: 8 << 30}}
		j.Entries = func(from int64) iter.Seq2[Entry, error] {
			return func(yield func(Entry, error) bool) {
				for i := from; i < n; i++ {
					e := Entry{Path: fmt.Sprintf("%04d/%08d", i/1000, i), ID: fmt.Sprint(i), Size: 512, Length: 512}
					if !yield(e, nil) {
						return
					}
				}
			}
		}
		before := cpuTime()
		m := ok(Run(t.Context(), j))(t)
		status, _ := os.ReadFile("/proc/self/status")
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		peak, _, _ = strings.Cut(peak, "\n")
		t.Logf("%d files: %v of CPU a file, peak %s", m.Files, (cpuTime()-before)/time.Duration(n), strings.TrimSpace(peak))
	}
}
