package main

import (
	"fmt"
	"math/bits"
	"strings"
)

// The kernels of piece trees. A node is SHA-256 of 64 bytes with the two top
// bits of its last byte cleared: a block of message, which starts from constant
// values, and a block of padding, whose schedule is constant.
//
// Nodes lie in rows of 32 bytes, as everyone else sees them, or in columns: the
// words of as many nodes as there are lanes, word 0 of all of them first, as
// numbers. When the two children of every node lie in two columns that follow
// each other, a level is made from the one below without a byte being moved.
//
// Registers: DI destination, SI source, DX groups to do, R8 distance of lanes;
// the subroutine that hashes uses R9 to R12 and finds its constants by itself;
// BX is the scratch memory of the message words, where there is one.
type commp struct {
	*file
	v       vector
	streams []*stream
	suffix  string // of the functions' names
	scratch int    // bytes of message words in memory
}

const (
	quadRaw = 127
	half    = 63 // the second message of a quad begins here, in bytes
	// ownMask clears the two top bits of a node's last byte in its last word.
	ownMask = 0xffffff3f
)

// inRegisters is one stream of AVX-512 with its message in registers.
func inRegisters() *stream {
	return &stream{
		v: avx512, state: [8]int{0, 1, 2, 3, 4, 5, 6, 7}, temp: []int{24, 25, 26, 27, 28, 29, 30, 31},
		word: func(i int) string { return fmt.Sprintf("Z%d", zRow+i) },
	}
}

// inMemory gives words of a vector from off of the scratch memory on.
func inMemory(v vector, off int) func(int) string {
	return func(i int) string { return fmt.Sprintf("%d(BX)", off+v.bytes()*i) }
}

// commpAVX512 keeps both state and schedule of 16 nodes in registers: for
// processors with two vector units, which one stream fills.
func commpAVX512() *file {
	return newCommp("AVX512", avx512, 0, inRegisters())
}

// commpAVX512x2 interleaves two streams of 16 nodes: for processors with four
// vector units, which one stream leaves waiting for its own results.
func commpAVX512x2() *file {
	return newCommp("AVX512x2", avx512, 2*16*64,
		&stream{
			v: avx512, state: [8]int{0, 1, 2, 3, 4, 5, 6, 7}, temp: []int{16, 17, 18, 19, 20, 21},
			word: inMemory(avx512, 0), recent: [2]int{28, 29},
		},
		&stream{
			v: avx512, state: [8]int{8, 9, 10, 11, 12, 13, 14, 15}, temp: []int{22, 23, 24, 25, 26, 27},
			word: inMemory(avx512, 16*64), recent: [2]int{30, 31},
		})
}

func commpAVX2() *file {
	return newCommp("AVX2", avx2, 16*32, &stream{
		v: avx2, state: [8]int{0, 1, 2, 3, 4, 5, 6, 7}, temp: []int{8, 9, 10, 11, 12, 13, 14, 15},
		word: inMemory(avx2, 0),
	})
}

func newCommp(suffix string, v vector, scratch int, streams ...*stream) *file {
	g := &commp{
		file:    newFile("base/commp/kernel_"+strings.ToLower(suffix)+"_amd64", "commp", amd64),
		v:       v,
		streams: streams,
		suffix:  suffix,
		scratch: scratch,
	}
	g.subroutine("hash", "hash makes the digests of the messages and leaves them in the state registers.\n"+
		"It uses every vector register and R9 to R12.", g.hash())
	g.nodes()
	g.quads()
	return g.file
}

// opening is what round 0 makes of the initial values, without its message
// word: what is added to it in e and in a.
func opening() (inE, inA uint32) {
	ror := func(x uint32, n int) uint32 { return bits.RotateLeft32(x, -n) }
	a, b, c, d := initial[0], initial[1], initial[2], initial[3]
	e, f, g, h := initial[4], initial[5], initial[6], initial[7]
	t1 := h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (e&f ^ ^e&g) + roundK[0]
	t2 := (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + (a&b ^ a&c ^ b&c)
	return d + t1, t1 + t2
}

// hash is SHA-256 of the messages in the streams' words.
func (g *commp) hash() (c code) {
	inE, inA := opening()
	k := roundK
	for t := 1; t < 4; t++ { // h is a constant still
		k[t] += initial[7-t]
	}
	padded := paddedK()
	n := g.v.repeat()
	c.op("LEAQ %s, R9", g.table("constants"+g.suffix, n, k[:]...))
	c.op("LEAQ %s, R11", g.table("initial"+g.suffix, n, append(initial[:], inE, inA, ownMask)...))
	c.add(g.each((*commp).firstRound))
	for t := 1; t < 16; t++ {
		c.add(g.each(func(g *commp, s *stream) (r code) {
			if t >= 4 {
				r.add(s.addMessage(t, "R9"))
			} else {
				h := s.working(t)[7]
				r.add(g.load(s.word(t), h))
				g.v.addWord(&r, "R9", t, h, h)
			}
			r.add(s.mix(t))
			return r
		}))
	}
	c.add(g.loop("schedule", 3, "R9", func(t int, s *stream) (r code) {
		r.add(s.extend(t), s.addMessage(t, "R9"), s.mix(t))
		return r
	}))
	c.add(g.each((*commp).keep))
	c.op("LEAQ %s, R9", g.table("padding"+g.suffix, n, padded[:]...))
	c.op("SUBQ $%d, R9", 16*4*n)
	c.add(g.loop("pad", 4, "R9", func(t int, s *stream) (r code) {
		r.add(s.addPadding(t, "R9"), s.mix(t))
		return r
	}))
	c.add(g.each((*commp).finish))
	c.op("RET")
	return c
}

// each interleaves a piece over the streams.
func (g *commp) each(piece func(g *commp, s *stream) code) (c code) {
	for _, s := range g.streams {
		c = zip(c, piece(g, s))
	}
	return c
}

// loop does 16 rounds several times, base running on to their constants first.
func (g *commp) loop(name string, times int, base string, round func(t int, s *stream) code) (c code) {
	c.op("MOVQ $%d, R12", times)
	c.add(g.each(func(_ *commp, s *stream) (r code) {
		if name != "schedule" {
			return s.before16()
		}
		for i, w := range s.recent {
			if w != 0 {
				r.op("VMOVDQU32 %s, %s", s.word(14+i), s.v.r(w))
			}
		}
		return r
	}))
	c.label(name)
	c.op("ADDQ $%d, %s", 16*4*g.v.repeat(), base)
	for t := range 16 {
		c.add(g.each(func(_ *commp, s *stream) code { return round(t, s) }))
	}
	c.op("DECQ R12")
	c.op("JNZ %s", name)
	return c
}

// load copies a message word into a register.
func (g *commp) load(word, reg string) (c code) {
	if g.v.rotates {
		c.op("VMOVDQU32 %s, %s", word, reg)
	} else {
		c.op("VMOVDQU %s, %s", word, reg)
	}
	return c
}

// firstRound is round 0, which knows everything but the message, and loads the
// initial values that the rounds after it read.
func (g *commp) firstRound(s *stream) (c code) {
	for _, i := range []int{0, 1, 2, 4, 5} {
		if r := s.v.r(s.state[i]); g.v.rotates {
			c.op("VPBROADCASTD %d(R11), %s", 4*i, r)
		} else {
			c.op("VMOVDQU %d(R11), %s", g.v.bytes()*i, r)
		}
	}
	d, h := s.v.r(s.state[3]), s.v.r(s.state[7])
	c.add(g.load(s.word(0), h))
	g.v.addWord(&c, "R11", 8, h, d)
	g.v.addWord(&c, "R11", 9, h, h)
	if !g.v.rotates { // b^c of round 1
		x := s.temps()
		c.op("VPXOR %s, %s, %s", s.v.r(s.state[0]), s.v.r(s.state[1]), x[len(x)-2])
	}
	return c
}

// keep adds the initial values to the state and keeps the sum in the place of
// the message words.
func (g *commp) keep(s *stream) (c code) {
	for i := range 8 {
		r := s.v.r(s.state[i])
		g.v.addWord(&c, "R11", i, r, r)
		c.add(g.store(r, s.word(i)))
	}
	return c
}

func (g *commp) store(reg, to string) code { return g.load(reg, to) }

// finish adds what was kept and clears the two bits.
func (g *commp) finish(s *stream) (c code) {
	for i := range 8 {
		r := s.v.r(s.state[i])
		c.op("VPADDD %s, %s, %s", s.word(i), r, r)
	}
	last := s.v.r(s.state[7])
	if g.v.rotates {
		c.op("VPANDD.BCST %d(R11), %s, %s", 4*10, last, last)
	} else {
		c.op("VPAND %d(R11), %s, %s", g.v.bytes()*10, last, last)
	}
	return c
}
