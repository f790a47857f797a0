package commp

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	hashhash "github.com/filecoin-project/go-fil-commp-hashhash"
)

const benchSize = 16 << 20

// cpuTime is the time all threads of the process have spent, in seconds.
func cpuTime(b *testing.B) float64 {
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
		start := cpuTime(b)
		var c hashhash.Calc
		_, _ = c.Write(data)
		if _, _, err := c.Digest(); err != nil {
			b.Fatal(err)
		}
		middle := cpuTime(b)
		w.Reset()
		_, _ = w.Write(data)
		_, _ = w.Sum()
		end := cpuTime(b)
		ratios = append(ratios, (middle-start)/(end-middle))
		theirs, ours = theirs+middle-start, ours+end-middle
	}
	slices.Sort(ratios)
	mib := float64(len(ratios)) * benchSize / (1 << 20)
	b.ReportMetric(ratios[len(ratios)/2], "times")
	b.ReportMetric(mib/ours, "MiB/cpu-s")
	b.ReportMetric(mib/theirs, "theirs-MiB/cpu-s")
}

// benchKernels runs a benchmark with every kernel; nodes is how many a round
// hashes, and what a node costs is reported beside the bytes.
func benchKernels(b *testing.B, raw, nodes int, run func(k kernel)) {
	for i, k := range append(available(), portable) {
		b.Run(fmt.Sprintf("%d-%s", i, k.name), func(b *testing.B) {
			b.SetBytes(int64(raw))
			b.ReportAllocs()
			for b.Loop() {
				run(k)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
		})
	}
}

func BenchmarkQuads(b *testing.B) {
	raw, dst := counter("bench", SlotRaw), make([]byte, slotQuads*2*nodeSize)
	benchKernels(b, SlotRaw, 2*slotQuads, func(k kernel) { k.quads(dst, raw) })
}

func BenchmarkNodes(b *testing.B) {
	src := counter("bench", 2*slotQuads*nodeSize)
	dst := make([]byte, len(src)/2)
	benchKernels(b, len(src), slotQuads, func(k kernel) { k.nodes(dst, src) })
}

func BenchmarkWriter(b *testing.B) {
	data := counter("bench", benchSize)
	for _, write := range []int{32 << 10, benchSize} {
		b.Run(fmt.Sprint(write), func(b *testing.B) {
			benchKernels(b, benchSize, benchSize/quadRaw*4, func(k kernel) {
				w := newWriter(k)
				for p := range slices.Chunk(data, write) {
					_, _ = w.Write(p)
				}
				_, _ = w.Sum()
			})
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
