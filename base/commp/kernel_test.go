package commp

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// eachKernel runs a test with every kernel of this machine, and each variant
// that goes by the same name.
func eachKernel(t *testing.T, run func(t *testing.T, k kernel)) {
	for i, k := range append(available(), portable) {
		t.Run(fmt.Sprintf("%d-%s", i, k.name), func(t *testing.T) {
			t.Parallel()
			run(t, k)
		})
	}
}

// Every count up to three groups of the widest kernel and a few more, from
// every alignment: the portable kernel's nodes, and no byte beside them.
func TestKernelsAgreeOnNodes(t *testing.T) {
	src := counter("nodes", 110*2*nodeSize+64)
	want := make([]byte, 110*nodeSize)
	nodesPortable(want, src[:110*2*nodeSize])
	eachKernel(t, func(t *testing.T, k kernel) {
		for n := range 110 {
			dst := bytes.Repeat([]byte{0xa5}, (n+2)*nodeSize)
			k.nodes(dst[nodeSize:len(dst)-nodeSize], src[:n*2*nodeSize])
			surrounded(t, dst, want[:n*nodeSize])

			in := bytes.Clone(src[:n*2*nodeSize])
			k.nodes(in, in)
			if !bytes.Equal(in[:n*nodeSize], want[:n*nodeSize]) {
				t.Fatalf("%d nodes in place differ", n)
			}
		}
		for shift := range 64 {
			n := 30 + shift
			moved := make([]byte, shift+n*2*nodeSize)
			copy(moved[shift:], src)
			dst := make([]byte, n*nodeSize)
			k.nodes(dst, moved[shift:])
			if !bytes.Equal(dst, want[:n*nodeSize]) {
				t.Fatalf("%d nodes %d bytes off differ", n, shift)
			}
		}
	})
}

func TestKernelsAgreeOnQuads(t *testing.T) {
	raw := counter("quads", 60*quadRaw)
	want := make([]byte, 60*2*nodeSize)
	quadsPortable(want, raw)
	eachKernel(t, func(t *testing.T, k kernel) {
		for n := range 61 {
			dst := bytes.Repeat([]byte{0xa5}, (2*n+2)*nodeSize)
			k.quads(dst[nodeSize:len(dst)-nodeSize], raw[:n*quadRaw])
			surrounded(t, dst, want[:n*2*nodeSize])
		}
		for shift := range 64 {
			n := 20 + shift%40
			moved := make([]byte, shift+n*quadRaw)
			copy(moved[shift:], raw)
			dst := make([]byte, n*2*nodeSize)
			k.quads(dst, moved[shift:])
			if !bytes.Equal(dst, want[:len(dst)]) {
				t.Fatalf("%d quads %d bytes off differ", n, shift)
			}
		}
	})
}

// surrounded fails unless got is want between nodes that were not touched.
func surrounded(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got[nodeSize:len(got)-nodeSize], want) {
		t.Fatalf("%d nodes differ", len(want)/nodeSize)
	}
	for _, b := range append(bytes.Clone(got[:nodeSize]), got[len(got)-nodeSize:]...) {
		if b != 0xa5 {
			t.Fatalf("bytes beside %d nodes were written", len(want)/nodeSize)
		}
	}
}

// Each single bit of a quad, alone and missing, must end where Fr32 puts it.
func TestKernelsExpandEveryBit(t *testing.T) {
	const quads = 8 * quadRaw * 2
	raw := make([]byte, quads*quadRaw)
	for bit := range 8 * quadRaw {
		raw[2*bit*quadRaw+bit/8] |= 1 << (bit % 8)
		missing := raw[(2*bit+1)*quadRaw:][:quadRaw]
		for i := range missing {
			missing[i] = 0xff
		}
		missing[bit/8] ^= 1 << (bit % 8)
	}
	want := make([]byte, quads*2*nodeSize)
	quadsPortable(want, raw)
	eachKernel(t, func(t *testing.T, k kernel) {
		got := make([]byte, len(want))
		k.quads(got, raw)
		for i := range quads {
			if at := i * 2 * nodeSize; !bytes.Equal(got[at:at+2*nodeSize], want[at:at+2*nodeSize]) {
				t.Fatalf("quad of bit %d, missing %v, differs", i/2, i%2 == 1)
			}
		}
	})
}

// A batch of slots, some of them zeros, in every number: the roots that quads
// and nodes alone lead to.
func TestKernelsAgreeOnSlots(t *testing.T) {
	raw := counter("slots", (batchSlots+1)*SlotRaw)[3:]
	for _, zero := range []int{2, 3, 15} {
		clear(raw[zero*SlotRaw : (zero+1)*SlotRaw])
	}
	var want []Node
	e := newEngine(portable)
	for i := range batchSlots {
		want = append(want, e.root(raw[i*SlotRaw:(i+1)*SlotRaw], slotHeight))
	}
	eachKernel(t, func(t *testing.T, k kernel) {
		e := newEngine(k)
		for _, n := range []int{1, 2, 3, 4, 7, 8, 13, batchSlots} {
			e.held = 0
			for i := range n {
				e.hold(raw[i*SlotRaw : (i+1)*SlotRaw])
			}
			roots := e.roots()
			if len(roots) != n*nodeSize {
				t.Fatalf("%d bytes of roots for %d slots", len(roots), n)
			}
			for i := range n {
				if Node(roots[i*nodeSize:]) != want[i] {
					t.Errorf("slot %d of %d differs", i, n)
				}
			}
		}
	})
}

// Ten thousand sizes and more against go-fil-commp-hashhash: one run of the
// library serves all kernels.
func TestKernelsAgainstHashhash(t *testing.T) {
	data := counter("sizes", 1<<21)
	for _, s := range sizesToTry(long()) {
		checkSize(t, data[s%63:][:s])
	}
}

// sizesToTry are every size up to a dozen quads, those around multiples of
// groups and slots, and random ones: few of the large unless all are wanted.
func sizesToTry(all bool) (sizes []int) {
	r := random(7)
	for n := range 1600 {
		sizes = append(sizes, n)
	}
	for quads := 1; quads <= 70; quads++ {
		for d := -2; d <= 2; d++ {
			sizes = append(sizes, quads*quadRaw+d)
		}
	}
	few := map[bool]int{false: 25, true: 4000}[all]
	for range few {
		sizes = append(sizes, r.IntN(40_000), r.IntN(200_000))
	}
	for range few / 4 {
		sizes = append(sizes, r.IntN(2_000_000), (1+r.IntN(12))*SlotRaw+r.IntN(5)-2)
	}
	return sizes
}

func checkSize(t *testing.T, data []byte) {
	t.Helper()
	want, padded := reference(t, data)
	for _, k := range append(available(), portable) {
		w := newWriter(k)
		_, _ = w.Write(data)
		if p, _ := w.Sum(); p.Root() != want || p.PaddedSize != padded {
			t.Errorf("%s, %d bytes: %s of %d, want %s of %d", k.name, len(data), p.Root(), p.PaddedSize, want, padded)
		}
	}
}

func TestVectorsWithEachKernel(t *testing.T) {
	vectors := readVectors(t, "testdata/vectors.json")
	eachKernel(t, func(t *testing.T, k kernel) {
		for _, v := range vectors {
			if v.Size > 1<<20 && !long() {
				continue
			}
			data := v.bytes(t)
			w := newWriter(k)
			_, _ = w.Write(data)
			got, _ := w.Sum()
			v.compare(t, v.Name, got)
			tree := newTree(int64(v.Size), k)
			if err := tree.SetAt(0, data); err != nil {
				t.Fatal(err)
			}
			got, err := tree.Piece()
			if err != nil {
				t.Fatal(err)
			}
			v.compare(t, v.Name, got)
		}
	})
}

func TestKernelsAreConcurrent(t *testing.T) {
	const slots = 12
	data := counter("together", slots*SlotRaw-77)
	want := pieceOfBytes(t, data)
	eachKernel(t, func(t *testing.T, k kernel) {
		tree := newTree(int64(len(data)), k)
		var group sync.WaitGroup
		for i := range slots {
			group.Go(func() {
				end := min((i+1)*SlotRaw, len(data))
				if err := tree.SetAt(int64(i)*SlotRaw, data[i*SlotRaw:end]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got, err := tree.Piece(); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A kernel must not allocate, whatever the count.
func TestKernelsDoNotAllocate(t *testing.T) {
	src, dst := counter("flat", 100*quadRaw), make([]byte, 100*2*nodeSize)
	for _, k := range append(available(), portable) {
		for _, n := range []int{1, 5, 16, 45} {
			used := testing.AllocsPerRun(10, func() {
				k.nodes(dst, src[:n*2*nodeSize])
				k.quads(dst, src[:n*quadRaw])
			})
			if used > 0 {
				t.Errorf("%s allocates %v times for %d", k.name, used, n)
			}
		}
	}
}

func TestChoice(t *testing.T) {
	names := Kernels()
	if !slices.Contains(names, "portable") || !slices.Contains(names, Kernel()) {
		t.Errorf("%q of %q", Kernel(), names)
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(names))); len(unique) != len(names) {
		t.Errorf("%q holds a name twice", names)
	}
	ranked := []timed{{kernel{name: "quick"}, 1}, {kernel{name: "slow"}, 2}}
	for forced, want := range map[string]string{"": "quick", "slow": "slow", "quick": "quick", "avx9": "quick"} {
		if got := choose(ranked, forced).name; got != want {
			t.Errorf("FIRTH_KERNEL=%q chose %s, want %s", forced, got, want)
		}
	}
}

// Whatever the bytes, their number and where they begin: the portable nodes.
func FuzzKernels(f *testing.F) {
	f.Add([]byte("firth"), uint16(40), uint8(0))
	f.Add(bytes.Repeat([]byte{0xff}, quadRaw), uint16(100), uint8(1))
	f.Add(counter("fuzz", 700), uint16(9), uint8(63))
	f.Fuzz(func(t *testing.T, seed []byte, count uint16, shift uint8) {
		n := int(count) % 200
		src := make([]byte, int(shift)+n*quadRaw)
		for i := range src { // the seed again and again, each time another
			if len(seed) > 0 {
				src[i] = seed[i%len(seed)] + byte(i/len(seed))
			}
		}
		src = src[shift:]
		wantQuads, wantNodes := make([]byte, n*2*nodeSize), make([]byte, n*nodeSize)
		quadsPortable(wantQuads, src)
		nodesPortable(wantNodes, src[:n*2*nodeSize])
		got := make([]byte, n*2*nodeSize)
		for _, k := range available() {
			if k.quads(got, src); !bytes.Equal(got, wantQuads) {
				t.Fatalf("%s: %d quads differ", k.name, n)
			}
			if k.nodes(got, src[:n*2*nodeSize]); !bytes.Equal(got[:n*nodeSize], wantNodes) {
				t.Fatalf("%s: %d nodes differ", k.name, n)
			}
		}
	})
}
