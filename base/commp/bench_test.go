package commp

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	hashhash "github.com/filecoin-project/go-fil-commp-hashhash"
)

const benchSize = 16 << 20

// cpu is the time all threads of the process have spent, in seconds.
func cpu(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// BenchmarkAgainstHashhash reports how many times the work of
// go-fil-commp-hashhash a CPU-second does: the median of interleaved pairs.
func BenchmarkAgainstHashhash(b *testing.B) {
	data := counter("bench", benchSize)
	w := New()
	var ratios []float64
	var ours, theirs float64
	for range max(b.N, 5) {
		start := cpu(b)
		var c hashhash.Calc
		_, _ = c.Write(data)
		if _, _, err := c.Digest(); err != nil {
			b.Fatal(err)
		}
		middle := cpu(b)
		w.Reset()
		_, _ = w.Write(data)
		_, _ = w.Sum()
		end := cpu(b)
		ratios = append(ratios, (middle-start)/(end-middle))
		theirs, ours = theirs+middle-start, ours+end-middle
	}
	slices.Sort(ratios)
	mib := float64(len(ratios)) * benchSize / (1 << 20)
	b.ReportMetric(ratios[len(ratios)/2], "times")
	b.ReportMetric(mib/ours, "MiB/cpu-s")
	b.ReportMetric(mib/theirs, "theirs-MiB/cpu-s")
}

func BenchmarkWriter(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, benchSize} {
		data := counter("bench", uint64(size))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			w := New()
			for b.Loop() {
				w.Reset()
				_, _ = w.Write(data)
				_, _ = w.Sum()
			}
		})
	}
}

func BenchmarkTreeParallel(b *testing.B) {
	data := counter("bench", 8*SlotRaw)
	tree := NewTree(int64(len(data)))
	b.SetBytes(int64(len(data)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = tree.SetAt(0, data)
		}
	})
}
