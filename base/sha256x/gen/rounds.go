package main

import (
	"fmt"
	"math/bits"
)

// The constants of SHA-256 (FIPS 180-4, 4.2.2 and 5.3.3).
var (
	roundK = [64]uint32{
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
	}
	initial = [8]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}
)

// paddedK returns the round constants with the message schedule of the block
// added that follows a message of 64 bytes: it is the same for every message.
func paddedK() [64]uint32 {
	var w [64]uint32
	w[0], w[15] = 1<<31, 8*64
	ror := func(x uint32, n int) uint32 { return bits.RotateLeft32(x, -n) }
	for t := 16; t < 64; t++ {
		s0 := ror(w[t-15], 7) ^ ror(w[t-15], 18) ^ w[t-15]>>3
		s1 := ror(w[t-2], 17) ^ ror(w[t-2], 19) ^ w[t-2]>>10
		w[t] = w[t-16] + s0 + w[t-7] + s1
	}
	for t := range w {
		w[t] += roundK[t]
	}
	return w
}

// stream is one set of SHA-256 states, a message in each lane of a vector, and
// the registers it may use. Streams with registers of their own interleave.
type stream struct {
	v     vector
	state [8]int             // a to h before a round whose number is a multiple of 8
	temp  []int              // what a round may use up
	word  func(i int) string // operand that holds message word i, of 16
	// recent are two registers for the words 14 and 15 of a schedule in memory,
	// on AVX-512 where there are registers left.
	recent [2]int
}

// vector is an instruction set whose lanes are words of 32 bits.
type vector struct {
	reg   string // prefix of its registers
	lanes int
	// rotates says that it rotates, has logic of three operands and broadcasts
	// from memory: AVX-512.
	rotates bool
}

var (
	avx512 = vector{reg: "Z", lanes: 16, rotates: true}
	avx2   = vector{reg: "Y", lanes: 8}
)

func (v vector) r(n int) string { return fmt.Sprintf("%s%d", v.reg, n) }

// bytes is the width of a vector.
func (v vector) bytes() int { return 4 * v.lanes }

// repeat is how often a table repeats a word that every lane adds.
func (v vector) repeat() int {
	if v.rotates {
		return 1
	}
	return v.lanes
}

// addWord adds word i of a table, whose address is in a register, to src.
func (v vector) addWord(c *code, base string, i int, src, dst string) {
	if v.rotates {
		c.op("VPADDD.BCST %d(%s), %s, %s", 4*i, base, src, dst)
	} else {
		c.op("VPADDD %d(%s), %s, %s", v.bytes()*i, base, src, dst)
	}
}

// working returns the registers of a to h in round t: instead of the values,
// the names move.
func (s *stream) working(t int) (r [8]string) {
	for i := range r {
		r[i] = s.v.r(s.state[(i-t%8+8)%8])
	}
	return r
}

func (s *stream) temps() (r []string) {
	for _, n := range s.temp {
		r = append(r, s.v.r(n))
	}
	return r
}

// addMessage adds word and constant of round t to h; base holds the address of
// the constant of the round's group of 16.
func (s *stream) addMessage(t int, base string) (c code) {
	h := s.working(t)[7]
	s.v.addWord(&c, base, t%16, h, h)
	c.op("VPADDD %s, %s, %s", s.word(t%16), h, h)
	return c
}

// addPadding adds the constant of round t of the padding block to h.
func (s *stream) addPadding(t int, base string) (c code) {
	h := s.working(t)[7]
	s.v.addWord(&c, base, t%16, h, h)
	return c
}

// mix is the rest of round t, once word and constant are in h.
func (s *stream) mix(t int) code {
	if s.v.rotates {
		return s.mixAVX512(t)
	}
	return s.mixAVX2(t)
}

// before16 is what must stand before rounds from state that was just loaded.
func (s *stream) before16() (c code) {
	if !s.v.rotates {
		r, tmp := s.working(0), s.temps()
		c.op("VPXOR %s, %s, %s", r[1], r[2], tmp[len(tmp)-1])
	}
	return c
}

const (
	xor3     = "$0x96" // x ^ y ^ z
	choose   = "$0xCA" // x ? y : z, the destination being x
	majority = "$0xE8"
)

func (s *stream) mixAVX512(t int) (c code) {
	r, x := s.working(t), s.temps()
	a, b, cc, d, e, f, g, h := r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]
	c.op("VPRORD $6, %s, %s", e, x[0])
	c.op("VPRORD $11, %s, %s", e, x[1])
	c.op("VMOVDQA32 %s, %s", e, x[3])
	c.op("VPRORD $25, %s, %s", e, x[2])
	c.op("VPTERNLOGD %s, %s, %s, %s", choose, g, f, x[3])
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[0], x[1], x[2])
	c.op("VPADDD %s, %s, %s", x[3], h, h)
	c.op("VPRORD $2, %s, %s", a, x[0])
	c.op("VPADDD %s, %s, %s", x[2], h, h)
	c.op("VPRORD $13, %s, %s", a, x[1])
	c.op("VMOVDQA32 %s, %s", a, x[3])
	c.op("VPADDD %s, %s, %s", h, d, d)
	c.op("VPRORD $22, %s, %s", a, x[2])
	c.op("VPTERNLOGD %s, %s, %s, %s", majority, cc, b, x[3])
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[0], x[1], x[2])
	c.op("VPADDD %s, %s, %s", x[3], h, h)
	c.op("VPADDD %s, %s, %s", x[2], h, h)
	return c
}

// mixAVX2 keeps a^b of a round as b^c of the next, in the last two temporaries
// by turns.
func (s *stream) mixAVX2(t int) (c code) {
	r, x := s.working(t), s.temps()
	a, b, d, e, f, g, h := r[0], r[1], r[3], r[4], r[5], r[6], r[7]
	ab, bc := x[len(x)-2+t%2], x[len(x)-1-t%2]
	sigma := func(in string, one, two, three int) {
		s.v.rotations(&c, in, x, one, two)
		c.op("VPSRLD $%d, %s, %s", three, in, x[1])
		c.op("VPSLLD $%d, %s, %s", 32-three, in, x[3])
		c.op("VPXOR %s, %s, %s", x[1], x[0], x[0])
		c.op("VPXOR %s, %s, %s", x[3], x[0], x[0])
	}
	sigma(e, 6, 11, 25)
	c.op("VPXOR %s, %s, %s", f, g, x[1])
	c.op("VPAND %s, %s, %s", e, x[1], x[1])
	c.op("VPADDD %s, %s, %s", x[0], h, h)
	c.op("VPXOR %s, %s, %s", g, x[1], x[1])
	c.op("VPADDD %s, %s, %s", x[1], h, h)
	c.op("VPXOR %s, %s, %s", a, b, ab)
	c.op("VPADDD %s, %s, %s", h, d, d)
	sigma(a, 2, 13, 22)
	c.op("VPAND %s, %s, %s", ab, bc, bc)
	c.op("VPXOR %s, %s, %s", b, bc, bc)
	c.op("VPADDD %s, %s, %s", x[0], h, h)
	c.op("VPADDD %s, %s, %s", bc, h, h)
	return c
}

// rotations leaves the exclusive or of two rotations of in in x[0], using x[1]
// to x[3].
func (v vector) rotations(c *code, in string, x []string, one, two int) {
	c.op("VPSRLD $%d, %s, %s", one, in, x[0])
	c.op("VPSLLD $%d, %s, %s", 32-one, in, x[1])
	c.op("VPSRLD $%d, %s, %s", two, in, x[2])
	c.op("VPSLLD $%d, %s, %s", 32-two, in, x[3])
	c.op("VPXOR %s, %s, %s", x[1], x[0], x[0])
	c.op("VPXOR %s, %s, %s", x[3], x[2], x[2])
	c.op("VPXOR %s, %s, %s", x[2], x[0], x[0])
}

// extend replaces message word i by the one 16 rounds later.
func (s *stream) extend(i int) code {
	switch {
	case !s.v.rotates:
		return s.extendAVX2(i)
	case s.recent == [2]int{}:
		return s.extendRegisters(i)
	}
	return s.extendRecent(i)
}

// later is the operand of the message word k rounds after word i.
func (s *stream) later(i, k int) string { return s.word((i + k) % 16) }

// extendRegisters is for AVX-512 with all 16 message words in registers.
func (s *stream) extendRegisters(i int) (c code) {
	x := s.temps()[3:]
	w0, w1, w9, w14 := s.later(i, 0), s.later(i, 1), s.later(i, 9), s.later(i, 14)
	c.op("VPADDD %s, %s, %s", w9, w0, w0)
	c.op("VPRORD $7, %s, %s", w1, x[0])
	c.op("VPRORD $18, %s, %s", w1, x[1])
	c.op("VPSRLD $3, %s, %s", w1, x[2])
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[0], x[1], x[2])
	c.op("VPRORD $17, %s, %s", w14, x[0])
	c.op("VPRORD $19, %s, %s", w14, x[1])
	c.op("VPADDD %s, %s, %s", x[2], w0, w0)
	c.op("VPSRLD $10, %s, %s", w14, x[3])
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[0], x[1], x[3])
	c.op("VPADDD %s, %s, %s", x[3], w0, w0)
	return c
}

// extendRecent is for AVX-512 with the message words in memory and the last two
// in registers as well, since what was just stored is slow to load.
func (s *stream) extendRecent(i int) (c code) {
	x, w := s.temps(), s.v.r(s.recent[i%2])
	w0, w1, w9 := s.later(i, 0), s.later(i, 1), s.later(i, 9)
	c.op("VMOVDQU32 %s, %s", w1, x[0])
	c.op("VPRORD $17, %s, %s", w, x[2])
	c.op("VPRORD $19, %s, %s", w, x[3])
	c.op("VPSRLD $10, %s, %s", w, w)
	c.op("VPRORD $7, %s, %s", x[0], x[4])
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[2], x[3], w)
	c.op("VPRORD $18, %s, %s", x[0], x[5])
	c.op("VPSRLD $3, %s, %s", x[0], x[0])
	c.op("VPADDD %s, %s, %s", w9, w, w)
	c.op("VPTERNLOGD %s, %s, %s, %s", xor3, x[4], x[5], x[0])
	c.op("VPADDD %s, %s, %s", w0, x[0], x[0])
	c.op("VPADDD %s, %s, %s", x[0], w, w)
	c.op("VMOVDQU32 %s, %s", w, w0)
	return c
}

// extendAVX2 has the message words in memory.
func (s *stream) extendAVX2(i int) (c code) {
	x := s.temps()
	sigma := func(k, one, two, shift int) {
		c.op("VMOVDQU %s, %s", s.later(i, k), x[4])
		s.v.rotations(&c, x[4], x, one, two)
		c.op("VPSRLD $%d, %s, %s", shift, x[4], x[1])
		c.op("VPXOR %s, %s, %s", x[1], x[0], x[0])
	}
	w0 := s.later(i, 0)
	sigma(1, 7, 18, 3)
	c.op("VPADDD %s, %s, %s", w0, x[0], x[0])
	c.op("VPADDD %s, %s, %s", s.later(i, 9), x[0], x[0])
	c.op("VMOVDQU %s, %s", x[0], w0)
	sigma(14, 17, 19, 10)
	c.op("VPADDD %s, %s, %s", w0, x[0], x[0])
	c.op("VMOVDQU %s, %s", x[0], w0)
	return c
}
