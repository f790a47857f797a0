package main

// piecewise tells how a word of an expanded quad is made of the words of its 64
// raw bytes: right by shift of word lower, with the bits that come in from word
// lower+1; without its two top bits where clear is set (Fr32: 254 bits of data
// to 256). Shift 0 is word lower as it is.
type piecewise struct {
	lower, shift int
	clear        bool
}

// first and second are the two messages of a quad. The first begins at the
// quad's first byte, the second at its byte 63, in the middle of which its bits
// begin.
func piecesOf(part int) (p [16]piecewise) {
	for i := range 16 {
		switch upper := i >= 8; {
		case part == 0 && !upper:
			p[i] = piecewise{i, 0, i == 7}
		case part == 0:
			p[i] = piecewise{i - 1, 30, i == 15}
		case !upper:
			p[i] = piecewise{i, 4, i == 7}
		default:
			p[i] = piecewise{i, 2, false} // nothing above word 15: its two top bits are clear
		}
	}
	return p
}

// order is one in which no word is written before it was read: words move up in
// the first message, down in the second.
func order(part, i int) int {
	if part == 0 {
		return 15 - i
	}
	return i
}

// halfQuads makes a half of each quad, whose bytes the rows give, the stream's
// messages.
func (g *commp) halfQuads(s *stream, from rows, part int) (c code) {
	if !g.v.rotates {
		c.add(words256(from, "", s.word))
		c.op("VMOVDQU %s, Y15", g.byteSwap(g.v))
		c.op("VMOVDQU %s, Y14", g.table("numberMask", g.v.lanes, 1<<30-1))
	} else {
		c.add(words512(from))
		c.op("VMOVDQU64 %s, Z0", g.byteSwap(g.v))
		c.op("VPBROADCASTD %s, Z1", g.table("numberMask", 1, 1<<30-1))
	}
	pieces := piecesOf(part)
	for n := range 16 {
		i := order(part, n)
		if g.v.rotates {
			c.add(fr32AVX512(i, pieces[i]), g.finishWord(s, i, "Z0"))
		} else {
			c.add(g.fr32AVX2(s, i, pieces[i]), g.finishWord(s, i, "Y15"))
		}
	}
	return c
}

// fr32AVX512 has the words in registers, the mask in Z1 and uses Z2.
func fr32AVX512(i int, p piecewise) (c code) {
	word := func(i int) string { return avx512.r(zRow + i) }
	switch {
	case p.shift == 0:
	case p.lower == 15:
		c.op("VPSRLD $%d, %s, %s", p.shift, word(15), word(i))
	case p.lower == i:
		c.op("VPSLLD $%d, %s, Z2", 32-p.shift, word(i+1))
		c.op("VPSRLD $%d, %s, %s", p.shift, word(i), word(i))
		c.op("VPORD Z2, %s, %s", word(i), word(i))
	default:
		c.op("VPSRLD $%d, %s, Z2", p.shift, word(p.lower))
		c.op("VPSLLD $%d, %s, %s", 32-p.shift, word(i), word(i))
		c.op("VPORD Z2, %s, %s", word(i), word(i))
	}
	if p.clear {
		c.op("VPANDD Z1, %s, %s", word(i), word(i))
	}
	return c
}

// fr32AVX2 has the words in memory, the mask in Y14, leaves its result in Y0
// and uses Y1.
func (g *commp) fr32AVX2(s *stream, i int, p piecewise) (c code) {
	c.op("VMOVDQU %s, Y0", s.word(p.lower))
	if p.shift != 0 {
		c.op("VPSRLD $%d, Y0, Y0", p.shift)
	}
	if p.shift != 0 && p.lower < 15 {
		c.op("VMOVDQU %s, Y1", s.word(p.lower+1))
		c.op("VPSLLD $%d, Y1, Y1", 32-p.shift)
		c.op("VPOR Y1, Y0, Y0")
	}
	if p.clear {
		c.op("VPAND Y14, Y0, Y0")
	}
	return c
}
