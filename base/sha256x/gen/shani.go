package main

import "fmt"

// The kernels of processors with SHA-NI. A message has its state in two
// registers of four words and its schedule in four; an instruction does two
// rounds and takes four cycles, of which another message gets two: so there are
// two messages side by side.
//
// X0 holds words and constants of the next rounds, as the instruction wants it.
// Of a message, abef has F, E, B, A from low to high and cdgh H, G, D, C.
type shaNI struct {
	abef, cdgh string
	w          [4]string // four message words each
	temp       string
}

var shaNIs = [2]shaNI{
	{"X1", "X2", [4]string{"X3", "X4", "X5", "X6"}, "X7"},
	{"X8", "X9", [4]string{"X10", "X11", "X12", "X13"}, "X14"},
}

// both puts pieces for the one message and for the other behind each other: the
// processor looks further ahead than they are long.
func both(piece func(i int, s shaNI) code) (c code) {
	for i, s := range shaNIs {
		c.add(piece(i, s))
	}
	return c
}

// entry is the operand of four words of a table.
func entry(table string, i int) string { return fmt.Sprintf("%s<>+%d(SB)", table, 16*i) }

// fourRounds does rounds 4i to 4i+3 with the words and constants in X0.
func (s shaNI) fourRounds() (c code) {
	c.op("SHA256RNDS2 X0, %s, %s", s.abef, s.cdgh)
	c.op("PSHUFD $0x0E, X0, X0")
	c.op("SHA256RNDS2 X0, %s, %s", s.cdgh, s.abef)
	return c
}

// extend replaces words 4i to 4i+3, of 16, by those 16 rounds later.
func (s shaNI) extend(i int) (c code) {
	w := func(k int) string { return s.w[(i+k)%4] }
	c.op("SHA256MSG1 %s, %s", w(1), w(0))
	c.op("MOVO %s, %s", w(3), s.temp)
	c.op("PALIGNR $4, %s, %s", w(2), s.temp)
	c.op("PADDD %s, %s", s.temp, w(0))
	c.op("SHA256MSG2 %s, %s", w(3), w(0))
	return c
}

// shaRounds is the 64 rounds of the messages in w.
func shaRounds() (c code) {
	for i := range 16 {
		c.add(both(func(_ int, s shaNI) (r code) {
			if i >= 4 {
				r.add(s.extend(i))
			}
			r.op("MOVO %s, X0", s.w[i%4])
			r.op("PADDD %s, X0", entry("constants", i))
			r.add(s.fourRounds())
			return r
		}))
	}
	return c
}

func (f *file) shaTables() {
	f.table("constants", 1, roundK[:]...)
	f.table("swapBytes", 1, 0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f)
}

// shaFeature adds a look at the one feature that golang.org/x/sys/cpu does not
// tell on amd64.
func (f *file) shaFeature() {
	var c code
	c.op("MOVL $0, (DI)")
	c.op("XORL AX, AX")
	c.op("CPUID")
	c.op("CMPL AX, $7")
	c.op("JB none")
	c.op("MOVL $7, AX")
	c.op("XORL CX, CX")
	c.op("CPUID")
	c.op("SHRL $29, BX")
	c.op("ANDL $1, BX")
	c.op("MOVL BX, (DI)")
	c.label("none")
	c.op("RET")
	f.function("lookSHANI", "lookSHANI sets has to 1 where the processor has SHA-NI, else to 0.",
		0, []param{{"has", "*uint32", "DI"}}, c)
}

// messageSHANI is the kernel of base/sha256x: two lanes.
//
// Registers: DI states, one after the other; R8, R9 addresses of blocks, DX
// blocks to do.
func messageSHANI() *file {
	f := newFile("base/sha256x/kernel_shani_amd64", "sha256x", amd64)
	f.shaTables()
	f.shaFeature()
	var c code
	c.op("MOVQ 0(SI), R8")
	c.op("MOVQ 8(SI), R9")
	c.add(both(func(i int, s shaNI) code { return s.stateIn(32 * i) }))
	c.op("MOVOU %s, X15", entry("swapBytes", 0))
	c.label("block")
	c.add(both(func(i int, s shaNI) (r code) {
		r.op("MOVOU %s, %d(SP)", s.abef, 32*i)
		r.op("MOVOU %s, %d(SP)", s.cdgh, 32*i+16)
		for k, w := range s.w {
			r.op("MOVOU %d(R%d), %s", 16*k, 8+i, w)
			r.op("PSHUFB X15, %s", w)
		}
		return r
	}))
	c.add(shaRounds())
	c.add(both(func(i int, s shaNI) (r code) {
		r.op("MOVOU %d(SP), %s", 32*i, s.w[0])
		r.op("MOVOU %d(SP), %s", 32*i+16, s.w[1])
		r.op("PADDD %s, %s", s.w[0], s.abef)
		r.op("PADDD %s, %s", s.w[1], s.cdgh)
		r.op("ADDQ $64, R%d", 8+i)
		return r
	}))
	c.op("DECQ DX")
	c.op("JNZ block")
	c.add(both(func(i int, s shaNI) (r code) {
		r.add(s.words())
		r.op("MOVOU %s, %d(DI)", s.abef, 32*i)
		r.op("MOVOU %s, %d(DI)", s.cdgh, 32*i+16)
		return r
	}))
	c.op("RET")
	f.function("blocksSHANI", "blocksSHANI hashes n blocks, one at least, in both lanes.", 64, []param{
		{"state", "*states", "DI"}, {"at", "*addresses", "SI"}, {"n", "int", "DX"},
	}, c)
	return f
}

// stateIn loads the words a to h from an offset of DI.
func (s shaNI) stateIn(off int) (c code) {
	c.op("MOVOU %d(DI), %s", off, s.temp)        // a b c d
	c.op("MOVOU %d(DI), %s", off+16, s.cdgh)     // e f g h
	c.op("PSHUFD $0xB1, %s, %s", s.temp, s.temp) // b a d c
	c.op("PSHUFD $0x1B, %s, %s", s.cdgh, s.cdgh) // h g f e
	c.op("MOVO %s, %s", s.temp, s.abef)
	c.op("PALIGNR $8, %s, %s", s.cdgh, s.abef)    // f e b a
	c.op("PBLENDW $0xF0, %s, %s", s.temp, s.cdgh) // h g d c
	return c
}

// words leaves a, b, c, d in abef and e, f, g, h in cdgh.
func (s shaNI) words() (c code) {
	c.op("PSHUFD $0x1B, %s, %s", s.abef, s.temp) // a b e f
	c.op("PSHUFD $0xB1, %s, %s", s.cdgh, s.cdgh) // g h c d
	c.op("MOVO %s, %s", s.temp, s.abef)
	c.op("PBLENDW $0xF0, %s, %s", s.cdgh, s.abef) // a b c d
	c.op("PALIGNR $8, %s, %s", s.temp, s.cdgh)    // e f g h
	return c
}

// commpSHANI is the kernel of piece trees: two nodes side by side.
//
// Registers: DI destination, SI source, DX groups of two nodes to do; X15 turns
// bytes round throughout.
func commpSHANI() *file {
	f := newFile("base/commp/kernel_shani_amd64", "commp", amd64)
	f.shaTables()
	f.shaFeature()
	a, b, cc, d, e, fw, g, h := initial[0], initial[1], initial[2], initial[3], initial[4], initial[5], initial[6], initial[7]
	f.table("initial", 1, fw, e, b, a, h, g, d, cc)
	padded := paddedK()
	f.table("padding", 1, padded[:]...)
	f.table("numberMask", 1, ^uint32(0), ^uint32(0), ^uint32(0), ownMask)
	f.table("fr32Mask", 1, ^uint32(0), ^uint32(0), ^uint32(0), 1<<30-1)
	f.subroutine("hash", "hash makes the digests of the messages in X3 to X6 and X10 to X13, whose bytes\n"+
		"are turned round already, and stores them at DI, side by side.", shaNode())

	f.group("nodesSHANI", "nodesSHANI hashes two pairs of nodes to a group. It may work in place.",
		128, both(func(i int, s shaNI) (r code) {
			for k, w := range s.w {
				r.op("MOVOU %d(SI), %s", 64*i+16*k, w)
				r.op("PSHUFB X15, %s", w)
			}
			return r
		}))
	f.group("quadsSHANI", "quadsSHANI hashes a quad of raw bytes to a group, to two nodes.",
		quadRaw, both(func(i int, s shaNI) (r code) {
			for k, w := range s.w {
				r.add(s.fr32(4*i+k, w))
				r.op("PSHUFB X15, %s", w)
			}
			return r
		}))
	return f
}

// group adds a kernel whose groups take so many bytes and give two nodes.
func (f *file) group(name, doc string, bytes int, load code) {
	var c code
	c.op("MOVOU %s, X15", entry("swapBytes", 0))
	c.label("group")
	c.add(load)
	c.op("CALL hash<>(SB)")
	c.op("ADDQ $%d, SI", bytes)
	c.op("ADDQ $64, DI")
	c.op("DECQ DX")
	c.op("JNZ group")
	c.op("RET")
	f.function(name, doc, 0, []param{dst, src, {"groups", "int", "DX"}}, c)
}

// shaNode is the body of hash.
func shaNode() (c code) {
	start := func(_ int, s shaNI) (r code) {
		r.op("MOVOU %s, %s", entry("initial", 0), s.abef)
		r.op("MOVOU %s, %s", entry("initial", 1), s.cdgh)
		return r
	}
	c.add(both(start), shaRounds())
	c.add(both(func(_ int, s shaNI) (r code) {
		r.op("PADDD %s, %s", entry("initial", 0), s.abef)
		r.op("PADDD %s, %s", entry("initial", 1), s.cdgh)
		r.op("MOVO %s, %s", s.abef, s.w[0])
		r.op("MOVO %s, %s", s.cdgh, s.w[1])
		return r
	}))
	for i := range 16 {
		c.add(both(func(_ int, s shaNI) (r code) {
			r.op("MOVOU %s, X0", entry("padding", i))
			r.add(s.fourRounds())
			return r
		}))
	}
	c.add(both(func(i int, s shaNI) (r code) {
		r.op("PADDD %s, %s", s.w[0], s.abef)
		r.op("PADDD %s, %s", s.w[1], s.cdgh)
		r.add(s.words())
		r.op("PAND %s, %s", entry("numberMask", 0), s.cdgh)
		r.op("PSHUFB X15, %s", s.abef)
		r.op("PSHUFB X15, %s", s.cdgh)
		r.op("MOVOU %s, %d(DI)", s.abef, 32*i)
		r.op("MOVOU %s, %d(DI)", s.cdgh, 32*i+16)
		return r
	}))
	c.op("RET")
	return c
}

// fr32 makes bytes 16i to 16i+15 of an expanded quad from its raw bytes at SI.
// Number i/2 begins in the byte before its own place, save number 0; each of
// its words of 64 bits takes the bits of its first byte that are its own, and
// as many of the byte behind.
func (s shaNI) fr32(i int, dst string) (c code) {
	number, upper := i/2, i%2 == 1
	if number == 0 {
		c.op("MOVOU %d(SI), %s", 16*i, dst)
	} else {
		from, shift := 16*i-1, 8-2*number
		c.op("MOVOU %d(SI), %s", from, dst)
		c.op("PSRLQ $%d, %s", shift, dst)
		if i == 7 { // the quad ends with the last word, whose top is cleared
			c.op("MOVQ %d(SI), %s", from+8, s.temp)
		} else {
			c.op("MOVOU %d(SI), %s", from+8, s.temp)
		}
		c.op("PSLLQ $%d, %s", 64-shift, s.temp)
		c.op("POR %s, %s", s.temp, dst)
	}
	if upper {
		c.op("PAND %s, %s", entry("fr32Mask", 0), dst)
	}
	return c
}
