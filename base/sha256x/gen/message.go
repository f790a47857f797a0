package main

import (
	"fmt"
	"strings"
)

// The kernels of base/sha256x on vectors: each lane hashes blocks of a message
// of its own, from an address and with a state of its own.
//
// Registers: DI states, in columns as piece trees have their nodes; SI addresses
// of the lanes' first blocks, DX blocks to do, R13 bytes done, R9 constants, BX
// the scratch memory of the message words, where there is one.

func messageAVX512() *file { return newMessage("AVX512", avx512, 0, inRegisters()) }

func messageAVX2() *file {
	return newMessage("AVX2", avx2, 16*32, &stream{
		v: avx2, state: [8]int{0, 1, 2, 3, 4, 5, 6, 7}, temp: []int{8, 9, 10, 11, 12, 13, 14, 15},
		word: inMemory(avx2, 0),
	})
}

func newMessage(suffix string, v vector, scratch int, s *stream) *file {
	g := &commp{
		file: newFile("base/sha256x/kernel_"+strings.ToLower(suffix)+"_amd64", "sha256x", amd64),
		v:    v, streams: []*stream{s}, suffix: suffix, scratch: scratch,
	}
	var c code
	frame := 0
	if scratch > 0 { // align by hand: the stack is to 8 bytes only
		frame = scratch + v.bytes()
		c.op("LEAQ %d(SP), BX", v.bytes()-1)
		c.op("ANDQ $~%d, BX", v.bytes()-1)
	}
	c.op("XORL R13, R13")
	c.label("block")
	c.add(g.block(s))
	c.op("ADDQ $64, R13")
	c.op("DECQ DX")
	c.op("JNZ block")
	c.op("VZEROUPPER")
	c.op("RET")
	g.function("blocks"+suffix, "blocks"+suffix+" hashes n blocks, one at least, in every lane.",
		frame, []param{
			{"state", "*states", "DI"},
			{"at", "*addresses", "SI"},
			{"n", "int", "DX"},
		}, c)
	return g.file
}

// block hashes the next block of every lane.
func (g *commp) block(s *stream) (c code) {
	c.add(g.messages(s, func(l, off int) (setup code, address string) {
		setup.op("MOVQ %d(SI), AX", 8*l)
		return setup, fmt.Sprintf("%d(AX)(R13*1)", off)
	}))
	for i, r := range s.state {
		c.add(g.load(at("DI", i*g.v.bytes()), g.v.r(r)))
	}
	c.op("LEAQ %s, R9", g.table("constants"+g.suffix, g.v.repeat(), roundK[:]...))
	c.add(s.before16())
	for t := range 16 {
		c.add(s.addMessage(t, "R9"), s.mix(t))
	}
	c.add(g.loop("schedule", 3, "R9", func(t int, s *stream) (r code) {
		r.add(s.extend(t), s.addMessage(t, "R9"), s.mix(t))
		return r
	}))
	for i, r := range s.state {
		c.op("VPADDD %s, %s, %s", at("DI", i*g.v.bytes()), g.v.r(r), g.v.r(r))
		c.add(g.store(g.v.r(r), at("DI", i*g.v.bytes())))
	}
	return c
}
