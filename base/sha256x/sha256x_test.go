package sha256x

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// choices returns the choice Sum makes by itself, and one for every kernel of
// this machine that is used whatever the number of messages.
func choices() map[string]*choice {
	all := map[string]*choice{"automatic": choose(ranked(), "")}
	for _, c := range ranked() {
		all[c.name] = always(c.kernel)
	}
	return all
}

func always(k *kernel) *choice {
	c := new(choice)
	for i := range c {
		c[i] = k
	}
	return c
}

func eachChoice(t *testing.T, f func(t *testing.T, c *choice)) {
	for name, c := range choices() {
		t.Run(name, func(t *testing.T) { f(t, c) })
	}
}

func chance(seed uint64) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
}

func randomBytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	chance(seed).Read(p)
	return p
}

// check compares the digests of messages with those of crypto/sha256.
func check(t *testing.T, c *choice, msgs [][]byte) {
	t.Helper()
	out := make([][32]byte, len(msgs))
	c.sum(out, msgs)
	for i, m := range msgs {
		if out[i] != sha256.Sum256(m) {
			t.Fatalf("message %d of %d, of %d bytes: got %x", i, len(msgs), len(m), out[i])
		}
	}
}

func TestEveryLength(t *testing.T) {
	text := randomBytes(1, 300)
	eachChoice(t, func(t *testing.T, c *choice) {
		var ragged [][]byte
		for n := range len(text) + 1 {
			check(t, c, slices.Repeat([][]byte{text[:n]}, 17))
			ragged = append(ragged, text[:n])
		}
		check(t, c, ragged)
		slices.Reverse(ragged)
		check(t, c, ragged)
	})
}

func TestEveryCount(t *testing.T) {
	text := randomBytes(2, 64<<10)
	eachChoice(t, func(t *testing.T, c *choice) {
		for count := range 41 {
			equal, ragged := make([][]byte, count), make([][]byte, count)
			for i := range count {
				equal[i] = text[i*100:][:1024]
				ragged[i] = text[i*100:][:(i*7919)%5000]
			}
			check(t, c, equal)
			check(t, c, ragged)
		}
	})
}

func TestEveryAlignment(t *testing.T) {
	text := randomBytes(3, 4096)
	eachChoice(t, func(t *testing.T, c *choice) {
		var msgs [][]byte
		for off := range 130 {
			msgs = append(msgs, text[off:][:641], text[off:][:64], text[off:][:1000+off])
		}
		check(t, c, msgs)
	})
}

// TestRaggedMixes lets a few long messages outlast many short ones, so that the
// number of busy lanes passes through every value more than once.
func TestRaggedMixes(t *testing.T) {
	text := randomBytes(4, 3<<20)
	eachChoice(t, func(t *testing.T, c *choice) {
		r := rand.New(chance(5))
		for range 12 {
			var msgs [][]byte
			budget := 4 << 20
			for range 1 + r.IntN(80) {
				n := 1 << r.IntN(22)
				n = min(n+r.IntN(n), budget, len(text))
				budget -= n
				off := r.IntN(len(text) - n + 1)
				msgs = append(msgs, text[off:off+n])
			}
			check(t, c, msgs)
		}
	})
}

// TestChanges changes the kernel with every number of messages left, so that
// begun messages go from one kernel to the next, crypto/sha256 among them.
func TestChanges(t *testing.T) {
	var kernels []*kernel
	for _, c := range ranked() {
		kernels = append(kernels, c.kernel)
	}
	text := randomBytes(6, 128<<10)
	r := rand.New(chance(7))
	for range 200 {
		c := new(choice)
		for i := range c {
			c[i] = kernels[r.IntN(len(kernels))]
		}
		msgs := make([][]byte, 1+r.IntN(40))
		for i := range msgs {
			n := r.IntN(1 + r.IntN(8192))
			msgs[i] = text[i:][:n]
		}
		check(t, c, msgs)
	}
}

func TestFinishWithinThePadding(t *testing.T) {
	var k *kernel
	for _, c := range ranked() {
		if c.lanes > 1 {
			k = c.kernel
		}
	}
	if k == nil {
		t.Skip("no kernel with lanes here")
	}
	// The last message has one of its two blocks of padding done when the
	// others end, and is then finished by crypto/sha256.
	c := always(k)
	c[1] = portable()
	check(t, c, [][]byte{randomBytes(8, 100), randomBytes(9, 64+60)})
}

// refusing is a hash that does not take up what another saved.
type refusing struct{ saver }

func (refusing) UnmarshalBinary([]byte) error { return errors.New("another format") }

func TestFinishAnew(t *testing.T) {
	msg := randomBytes(16, 1000)
	var r run
	var out [32]byte
	r.begin(&out, msg)
	r.advance(3)
	(&alone{hash: refusing{}}).finish(&r)
	if out != sha256.Sum256(msg) {
		t.Errorf("got %x", out)
	}
}

func TestSameMessageAndOverlaps(t *testing.T) {
	text := randomBytes(10, 8192)
	eachChoice(t, func(t *testing.T, c *choice) {
		msgs := slices.Repeat([][]byte{text}, 20)
		for i := range 20 {
			msgs = append(msgs, text[i:], text[:len(text)-i], nil)
		}
		check(t, c, msgs)
	})
}

func TestConcurrentUse(t *testing.T) {
	text := randomBytes(11, 64<<10)
	eachChoice(t, func(t *testing.T, c *choice) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				r := rand.New(chance(uint64(12 + g)))
				for range 10 {
					var msgs [][]byte
					for range r.IntN(40) {
						msgs = append(msgs, text[r.IntN(1024):][:r.IntN(6000)])
					}
					out := make([][32]byte, len(msgs))
					c.sum(out, msgs)
					for i, m := range msgs {
						if out[i] != sha256.Sum256(m) {
							t.Errorf("goroutine %d: message %d of %d bytes differs", g, i, len(m))
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestSumPanicsForUnequalLengths(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Sum(make([][32]byte, 1), nil)
}

func TestNames(t *testing.T) {
	names := Kernels()
	if !slices.Contains(names, "portable") {
		t.Errorf("Kernels() = %q, without portable", names)
	}
	if !slices.Contains(names, Kernel()) {
		t.Errorf("Kernel() = %q, not of %q", Kernel(), names)
	}
	for _, name := range names {
		if got := choose(ranked(), name)[maxLanes].name; got != name {
			t.Errorf("%s forced, %s chosen", name, got)
		}
	}
	if got, want := choose(ranked(), "abacus")[maxLanes].name, choose(ranked(), "")[maxLanes].name; got != want {
		t.Errorf("an unknown name chose %s, not %s", got, want)
	}
}

// TestChoice: kernels are weighed by what they take for as many messages.
func TestChoice(t *testing.T) {
	wide, pair := &kernel{name: "wide", lanes: 16}, &kernel{name: "pair", lanes: 2}
	c := choose([]cost{{wide, 100}, {pair, 20}, {portable(), 18}}, "")
	var got []string
	for n := 1; n <= maxLanes; n++ {
		got = append(got, c[n].name)
	}
	want := slices.Concat([]string{"portable"}, slices.Repeat([]string{"pair"}, 7), slices.Repeat([]string{"wide"}, 8))
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func FuzzSum(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 255}, uint16(0))
	f.Add(uint64(2), []byte{200, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 250}, uint16(300))
	f.Add(uint64(3), []byte{}, uint16(9))
	all := choices()
	f.Fuzz(func(t *testing.T, seed uint64, lengths []byte, scale uint16) {
		if len(lengths) > 64 {
			return
		}
		step := int(scale%64) + 1
		text := randomBytes(seed, 256*64+len(lengths))
		var msgs [][]byte
		for i, n := range lengths {
			msgs = append(msgs, text[i:][:int(n)*step])
		}
		for name, c := range all {
			t.Log(name)
			check(t, c, msgs)
		}
	})
}

func benchmark(b *testing.B, lengths []int) {
	text := randomBytes(20, 32<<20)
	var msgs [][]byte
	at, total := 0, 0
	for _, n := range lengths {
		if at+n > len(text) {
			at = 0
		}
		msgs = append(msgs, text[at:at+n])
		at, total = at+n, total+n
	}
	out := make([][32]byte, len(msgs))
	for _, c := range ranked() {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(total))
			b.ReportAllocs()
			k := choose(ranked(), c.name)
			for b.Loop() {
				k.sum(out, msgs)
			}
		})
	}
}

func BenchmarkLeaves(b *testing.B) { benchmark(b, slices.Repeat([]int{1 << 20}, 16)) }

func BenchmarkSmall(b *testing.B) { benchmark(b, slices.Repeat([]int{4 << 10}, 4096)) }

func BenchmarkTiny(b *testing.B) { benchmark(b, slices.Repeat([]int{100}, 1024)) }

// BenchmarkMixed is a directory of files: most small, most bytes in large ones.
func BenchmarkMixed(b *testing.B) {
	r := rand.New(chance(21))
	var lengths []int
	for range 200 {
		n := 1 << r.IntN(20)
		lengths = append(lengths, n+r.IntN(n))
	}
	benchmark(b, lengths)
}

func BenchmarkFew(b *testing.B) {
	for _, n := range []int{1, 2, 3, 4, 6, 8, 12} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmark(b, slices.Repeat([]int{64 << 10}, n)) })
	}
}
