package main

import "fmt"

// byteSwap is the operand of VPSHUFB that turns the bytes of each word round.
func (f *file) byteSwap(v vector) string {
	var words []uint32
	for range v.lanes / 4 {
		words = append(words, 0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f)
	}
	return f.table(fmt.Sprintf("byteSwap%d", v.bytes()), 1, words...)
}

// rows is where the bytes of each lane lie: those of lane l from off on at an
// address that the setup makes ready. Lanes are asked for in order.
type rows func(l, off int) (setup code, address string)

// rowsApart is rows at a fixed distance of bytes.
func rowsApart(base string, distance, first int) rows {
	return func(l, off int) (code, string) { return nil, fmt.Sprintf("%d(%s)", first+l*distance+off, base) }
}

// rowsStride is rows at a distance that is known at run time: base and stride
// are registers, at and triple are used up.
func rowsStride(base, stride, at, triple string, first int) rows {
	return func(l, off int) (c code, address string) {
		switch {
		case l == 0:
			c.op("LEAQ %d(%s), %s", first+off, base, at)
			c.op("LEAQ (%s)(%s*2), %s", stride, stride, triple)
		case l%4 == 0:
			c.op("LEAQ (%s)(%s*4), %s", at, stride, at)
		}
		return c, [4]string{
			fmt.Sprintf("(%s)", at),
			fmt.Sprintf("(%s)(%s*1)", at, stride),
			fmt.Sprintf("(%s)(%s*2)", at, stride),
			fmt.Sprintf("(%s)(%s*1)", at, triple),
		}[l%4]
	}
}

// zRow is the first of the 16 registers that hold rows or words on AVX-512; the
// other 16 are used up in turning the one into the other.
const zRow = 8

// words512 loads 64 bytes of 16 rows and leaves word i of all of them in
// register zRow+i, little-endian. It uses every register.
func words512(from rows) (c code) {
	var a, b [16]string
	for i := range 16 {
		a[i], b[i] = fmt.Sprintf("Z%d", zRow+i), fmt.Sprintf("Z%d", (zRow+16+i)%32)
		setup, address := from(i, 0)
		c.add(setup)
		c.op("VMOVDQU32 %s, %s", address, a[i])
	}
	for i := 0; i < 16; i += 2 { // b: words of rows i and i+1 by turns
		c.op("VPUNPCKLDQ %s, %s, %s", a[i+1], a[i], b[i])
		c.op("VPUNPCKHDQ %s, %s, %s", a[i+1], a[i], b[i+1])
	}
	for k := 0; k < 16; k += 4 { // a[k+w]: in quarter j, word 4j+w of rows k to k+3
		c.op("VPUNPCKLQDQ %s, %s, %s", b[k+2], b[k], a[k])
		c.op("VPUNPCKHQDQ %s, %s, %s", b[k+2], b[k], a[k+1])
		c.op("VPUNPCKLQDQ %s, %s, %s", b[k+3], b[k+1], a[k+2])
		c.op("VPUNPCKHQDQ %s, %s, %s", b[k+3], b[k+1], a[k+3])
	}
	for w := range 4 { // the quarters are a matrix of 4 by 4
		c.op("VSHUFI32X4 $0x44, %s, %s, %s", a[4+w], a[w], b[0])
		c.op("VSHUFI32X4 $0xEE, %s, %s, %s", a[4+w], a[w], b[1])
		c.op("VSHUFI32X4 $0x44, %s, %s, %s", a[12+w], a[8+w], b[2])
		c.op("VSHUFI32X4 $0xEE, %s, %s, %s", a[12+w], a[8+w], b[3])
		c.op("VSHUFI32X4 $0x88, %s, %s, %s", b[2], b[0], a[w])
		c.op("VSHUFI32X4 $0xDD, %s, %s, %s", b[2], b[0], a[4+w])
		c.op("VSHUFI32X4 $0x88, %s, %s, %s", b[3], b[1], a[8+w])
		c.op("VSHUFI32X4 $0xDD, %s, %s, %s", b[3], b[1], a[12+w])
	}
	return c
}

// rowsOut512 stores the 16 nodes whose words are in registers, big-endian
// digests, as rows at a distance of bytes. It uses those and Z16 to Z26.
func (f *file) rowsOut512(state [8]int, base string, distance, off int) (c code) {
	swap, low, high := "Z24", "Z25", "Z26"
	c.op("VMOVDQU64 %s, %s", f.byteSwap(avx512), swap)
	c.op("VMOVDQU64 %s, %s", f.table("pairsLow", 1, 0, 0, 1, 0, 8, 0, 9, 0, 2, 0, 3, 0, 10, 0, 11, 0), low)
	c.op("VMOVDQU64 %s, %s", f.table("pairsHigh", 1, 4, 0, 5, 0, 12, 0, 13, 0, 6, 0, 7, 0, 14, 0, 15, 0), high)
	var s, x [8]string
	for i := range 8 {
		s[i], x[i] = fmt.Sprintf("Z%d", state[i]), fmt.Sprintf("Z%d", 16+i)
		c.op("VPSHUFB %s, %s, %s", swap, s[i], s[i])
	}
	for b := 0; b < 8; b += 4 { // s[b+k]: in quarter j, words b to b+3 of node 4j+k
		c.op("VPUNPCKLDQ %s, %s, %s", s[b+1], s[b], x[b])
		c.op("VPUNPCKHDQ %s, %s, %s", s[b+1], s[b], x[b+1])
		c.op("VPUNPCKLDQ %s, %s, %s", s[b+3], s[b+2], x[b+2])
		c.op("VPUNPCKHDQ %s, %s, %s", s[b+3], s[b+2], x[b+3])
		c.op("VPUNPCKLQDQ %s, %s, %s", x[b+2], x[b], s[b])
		c.op("VPUNPCKHQDQ %s, %s, %s", x[b+2], x[b], s[b+1])
		c.op("VPUNPCKLQDQ %s, %s, %s", x[b+3], x[b+1], s[b+2])
		c.op("VPUNPCKHQDQ %s, %s, %s", x[b+3], x[b+1], s[b+3])
	}
	at := func(node int) string { return fmt.Sprintf("%d(%s)", off+distance*node, base) }
	for k := range 4 {
		c.op("VMOVDQA64 %s, %s", low, x[k])
		c.op("VPERMI2Q %s, %s, %s", s[4+k], s[k], x[k])
		c.op("VPERMT2Q %s, %s, %s", s[4+k], high, s[k])
		c.op("VMOVDQU32 Y%d, %s", 16+k, at(k))
		c.op("VEXTRACTI64X4 $1, %s, %s", x[k], at(4+k))
		c.op("VMOVDQU32 Y%d, %s", state[k], at(8+k))
		c.op("VEXTRACTI64X4 $1, %s, %s", s[k], at(12+k))
	}
	return c
}

// words256 loads 64 bytes of 8 rows and puts word i of all of them where put
// says, little-endian unless a register with the byteSwap is given. It uses Y0
// to Y7.
func words256(from rows, swap string, put func(i int) string) (c code) {
	for w := 0; w < 16; w += 4 {
		for l := range 8 { // row l in the lower half of Y(l%4), row 4+l in the upper
			setup, address := from(l, 4*w)
			c.add(setup)
			if l < 4 {
				c.op("VMOVDQU %s, X%d", address, l)
			} else {
				c.op("VINSERTI128 $1, %s, Y%d, Y%d", address, l-4, l-4)
			}
		}
		c.op("VPUNPCKLDQ Y1, Y0, Y4")
		c.op("VPUNPCKHDQ Y1, Y0, Y5")
		c.op("VPUNPCKLDQ Y3, Y2, Y6")
		c.op("VPUNPCKHDQ Y3, Y2, Y7")
		c.op("VPUNPCKLQDQ Y6, Y4, Y0")
		c.op("VPUNPCKHQDQ Y6, Y4, Y1")
		c.op("VPUNPCKLQDQ Y7, Y5, Y2")
		c.op("VPUNPCKHQDQ Y7, Y5, Y3")
		for i := range 4 {
			if swap != "" {
				c.op("VPSHUFB %s, Y%d, Y%d", swap, i, i)
			}
			c.op("VMOVDQU Y%d, %s", i, put(w+i))
		}
	}
	return c
}

// rowsOut256 stores the 8 nodes whose words are in Y0 to Y7, big-endian digests,
// as rows at a distance of bytes. It uses Y0 to Y15.
func (f *file) rowsOut256(base string, distance, off int) (c code) {
	c.op("VMOVDQU %s, Y15", f.byteSwap(avx2))
	for i := range 8 {
		c.op("VPSHUFB Y15, Y%d, Y%d", i, i)
	}
	for b := 0; b < 8; b += 4 { // Y(b+k): in half j, words b to b+3 of node 4j+k
		c.op("VPUNPCKLDQ Y%d, Y%d, Y8", b+1, b)
		c.op("VPUNPCKHDQ Y%d, Y%d, Y9", b+1, b)
		c.op("VPUNPCKLDQ Y%d, Y%d, Y10", b+3, b+2)
		c.op("VPUNPCKHDQ Y%d, Y%d, Y11", b+3, b+2)
		c.op("VPUNPCKLQDQ Y10, Y8, Y%d", b)
		c.op("VPUNPCKHQDQ Y10, Y8, Y%d", b+1)
		c.op("VPUNPCKLQDQ Y11, Y9, Y%d", b+2)
		c.op("VPUNPCKHQDQ Y11, Y9, Y%d", b+3)
	}
	for k := range 4 {
		c.op("VPERM2I128 $0x20, Y%d, Y%d, Y8", 4+k, k)
		c.op("VPERM2I128 $0x31, Y%d, Y%d, Y9", 4+k, k)
		c.op("VMOVDQU Y8, %d(%s)", off+distance*k, base)
		c.op("VMOVDQU Y9, %d(%s)", off+distance*(4+k), base)
	}
	return c
}
