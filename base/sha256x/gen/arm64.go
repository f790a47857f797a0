package main

import (
	"fmt"
	"strings"
)

// The kernels of arm64 with the SHA-2 instructions: two messages side by side,
// as the instructions of one wait for each other.
//
// R0 and R1 are parameters, R2 counts, R5 runs through constants and R6 points
// to other tables. Of constants, four groups of four words are in V20 to V23 at
// a time.
type sha2 struct {
	abcd, efgh int
	kept       [2]int // of the state
	w          [4]int // four message words each
	sum, old   int
}

var sha2s = [2]sha2{
	{0, 1, [2]int{2, 3}, [4]int{4, 5, 6, 7}, 8, 9},
	{10, 11, [2]int{12, 13}, [4]int{14, 15, 16, 17}, 18, 19},
}

const (
	arm64      = "arm64 && !purego"
	groupConst = 20 // first of the four registers of constants
	fr32Mask   = 25
	nodeMask   = 26
	fr32Temp   = 28 // and 29, for the other message
)

// side interleaves a piece over the two messages.
func side(piece func(i int, s sha2) code) code { return zip(piece(0, sha2s[0]), piece(1, sha2s[1])) }

func vreg(n int, arrangement string) string { return fmt.Sprintf("V%d.%s", n, arrangement) }

func vlist(arrangement string, regs ...int) string {
	var out []string
	for _, r := range regs {
		out = append(out, vreg(r, arrangement))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// nextConstants loads four groups of constants.
func nextConstants() (c code) {
	c.op("VLD1.P 64(R5), %s", vlist("S4", groupConst, groupConst+1, groupConst+2, groupConst+3))
	return c
}

// fourRounds does four rounds with what is added in them in a register.
func (s sha2) fourRounds(sum int) (c code) {
	c.op("VMOV %s, %s", vreg(s.abcd, "B16"), vreg(s.old, "B16"))
	c.op("SHA256H %s, V%d, V%d", vreg(sum, "S4"), s.efgh, s.abcd)
	c.op("SHA256H2 %s, V%d, V%d", vreg(sum, "S4"), s.old, s.efgh)
	return c
}

// sha2Rounds is the 64 rounds of the messages in w.
func sha2Rounds() (c code) {
	c.op("MOVD $constants<>(SB), R5")
	for i := range 16 {
		if i%4 == 0 {
			c.add(nextConstants())
		}
		c.add(side(func(_ int, s sha2) (r code) {
			w := func(k int) string { return vreg(s.w[(i+k)%4], "S4") }
			r.op("VADD %s, %s, %s", vreg(groupConst+i%4, "S4"), w(0), vreg(s.sum, "S4"))
			if i < 12 { // the words 16 rounds later
				r.op("SHA256SU0 %s, %s", w(1), w(0))
				r.op("SHA256SU1 %s, %s, %s", w(3), w(2), w(0))
			}
			r.add(s.fourRounds(s.sum))
			return r
		}))
	}
	return c
}

// keep copies the state, so that it can be added when the rounds are over.
func (s sha2) keep() (c code) {
	c.op("VMOV %s, %s", vreg(s.abcd, "B16"), vreg(s.kept[0], "B16"))
	c.op("VMOV %s, %s", vreg(s.efgh, "B16"), vreg(s.kept[1], "B16"))
	return c
}

func (s sha2) addKept() (c code) {
	c.op("VADD %s, %s, %s", vreg(s.kept[0], "S4"), vreg(s.abcd, "S4"), vreg(s.abcd, "S4"))
	c.op("VADD %s, %s, %s", vreg(s.kept[1], "S4"), vreg(s.efgh, "S4"), vreg(s.efgh, "S4"))
	return c
}

func (s sha2) swapBytes() (c code) {
	for _, w := range s.w {
		c.op("VREV32 %s, %s", vreg(w, "B16"), vreg(w, "B16"))
	}
	return c
}

// messageARM64 is the kernel of base/sha256x: two lanes, whose states follow
// each other.
func messageARM64() *file {
	f := newFile("base/sha256x/kernel_sha2_arm64", "sha256x", arm64)
	f.table("constants", 1, roundK[:]...)
	var c code
	c.op("MOVD 0(R1), R3")
	c.op("MOVD 8(R1), R4")
	c.op("VLD1.P 32(R0), %s", vlist("S4", sha2s[0].abcd, sha2s[0].efgh))
	c.op("VLD1 (R0), %s", vlist("S4", sha2s[1].abcd, sha2s[1].efgh))
	c.label("block")
	c.add(side(func(i int, s sha2) (r code) {
		r.op("VLD1.P 64(R%d), %s", 3+i, vlist("B16", s.w[:]...))
		r.add(s.keep(), s.swapBytes())
		return r
	}))
	c.add(sha2Rounds(), side(func(_ int, s sha2) code { return s.addKept() }))
	c.op("SUBS $1, R2, R2")
	c.op("BNE block")
	c.op("SUB $32, R0, R0")
	c.op("VST1.P %s, 32(R0)", vlist("S4", sha2s[0].abcd, sha2s[0].efgh))
	c.op("VST1 %s, (R0)", vlist("S4", sha2s[1].abcd, sha2s[1].efgh))
	c.op("RET")
	f.function("blocksSHA2", "blocksSHA2 hashes n blocks, one at least, in both lanes.", 0, []param{
		{"state", "*states", "R0"}, {"at", "*addresses", "R1"}, {"n", "int", "R2"},
	}, c)
	return f
}

// commpARM64 is the kernel of piece trees: two nodes side by side.
func commpARM64() *file {
	f := newFile("base/commp/kernel_sha2_arm64", "commp", arm64)
	padded, all := paddedK(), ^uint32(0)
	f.table("constants", 1, roundK[:]...)
	f.table("padding", 1, padded[:]...)
	f.table("initial", 1, initial[:]...)
	f.table("masks", 1, all, all, all, 1<<30-1, all, all, all, ownMask)
	f.subroutine("hash", "hash makes the digests of the messages in V4 to V7 and V14 to V17 and stores them\n"+
		"at R0, side by side, which it steps over. It leaves V25 and above as they are.", sha2Node())
	f.pairs("nodesSHA2", "nodesSHA2 hashes two pairs of nodes to a group. It may work in place.",
		side(func(_ int, s sha2) (r code) {
			r.op("VLD1.P 64(R1), %s", vlist("B16", s.w[:]...))
			return r
		}), nil)
	step := code{}
	step.op("ADD $%d, R1, R1", quadRaw)
	f.pairs("quadsSHA2", "quadsSHA2 hashes a quad of raw bytes to a group, to two nodes.",
		side(func(i int, s sha2) (r code) {
			for k, w := range s.w {
				r.add(s.fr32(4*i+k, w, fr32Temp+i))
			}
			return r
		}), step)
	return f
}

// pairs adds a kernel whose groups give two nodes.
func (f *file) pairs(name, doc string, load, step code) {
	var c code
	c.op("MOVD $masks<>(SB), R6")
	c.op("VLD1 (R6), %s", vlist("S4", fr32Mask, nodeMask))
	c.label("group")
	c.add(load, step)
	c.op("CALL hash<>(SB)")
	c.op("SUBS $1, R2, R2")
	c.op("BNE group")
	c.op("RET")
	f.function(name, doc, 0, []param{
		{"dst", "*byte", "R0"}, {"src", "*byte", "R1"}, {"groups", "int", "R2"},
	}, c)
}

// sha2Node is the body of hash.
func sha2Node() (c code) {
	c.op("MOVD $initial<>(SB), R6")
	c.add(side(func(_ int, s sha2) (r code) {
		r.op("VLD1 (R6), %s", vlist("S4", s.abcd, s.efgh))
		r.add(s.keep(), s.swapBytes())
		return r
	}))
	c.add(sha2Rounds(), side(func(_ int, s sha2) (r code) {
		r.add(s.addKept(), s.keep())
		return r
	}))
	c.op("MOVD $padding<>(SB), R5")
	for i := range 16 {
		if i%4 == 0 {
			c.add(nextConstants())
		}
		c.add(side(func(_ int, s sha2) code { return s.fourRounds(groupConst + i%4) }))
	}
	c.add(side(func(_ int, s sha2) (r code) {
		r.add(s.addKept())
		r.op("VAND %s, %s, %s", vreg(nodeMask, "B16"), vreg(s.efgh, "B16"), vreg(s.efgh, "B16"))
		r.op("VREV32 %s, %s", vreg(s.abcd, "B16"), vreg(s.abcd, "B16"))
		r.op("VREV32 %s, %s", vreg(s.efgh, "B16"), vreg(s.efgh, "B16"))
		r.op("VST1.P %s, 32(R0)", vlist("B16", s.abcd, s.efgh))
		return r
	}))
	c.op("RET")
	return c
}

// fr32 makes bytes 16i to 16i+15 of an expanded quad from its raw bytes at R1,
// as shaNI.fr32 does.
func (s sha2) fr32(i, dst, temp int) (c code) {
	number, upper := i/2, i%2 == 1
	if number == 0 {
		c.op("FMOVQ %d(R1), F%d", 16*i, dst)
	} else {
		from, shift := 16*i-1, 8-2*number
		load := "FMOVQ"
		if i == 7 { // the quad ends with the last word, whose top is cleared
			load = "FMOVD"
		}
		c.op("FMOVQ %d(R1), F%d", from, dst)
		c.op("%s %d(R1), F%d", load, from+8, temp)
		c.op("VUSHR $%d, %s, %s", shift, vreg(dst, "D2"), vreg(dst, "D2"))
		c.op("VSLI $%d, %s, %s", 64-shift, vreg(temp, "D2"), vreg(dst, "D2"))
	}
	if upper {
		c.op("VAND %s, %s, %s", vreg(fr32Mask, "B16"), vreg(dst, "B16"), vreg(dst, "B16"))
	}
	return c
}
