package main

import "fmt"

// column is the bytes of one column of nodes.
func (g *commp) column() int { return 8 * g.v.bytes() }

// kernel adds a kernel: body is what is done for each of groups.
func (g *commp) kernel(name, doc string, params []param, body code) {
	params = append(params, param{"groups", "int", "DX"})
	var c code
	frame := 0
	if g.scratch > 0 { // align by hand: the stack is to 8 bytes only
		frame = g.scratch + g.v.bytes()
		c.op("LEAQ %d(SP), BX", g.v.bytes()-1)
		c.op("ANDQ $~%d, BX", g.v.bytes()-1)
	}
	c.label("group")
	c.add(body)
	c.op("DECQ DX")
	c.op("JNZ group")
	c.op("VZEROUPPER")
	c.op("RET")
	g.function(name+g.suffix, name+g.suffix+" "+doc, frame, params, c)
}

var dst, src = param{"dst", "*byte", "DI"}, param{"src", "*byte", "SI"}

// nodes adds the kernels that make a level from the one below.
func (g *commp) nodes() {
	lanes, n := g.v.lanes, len(g.streams)
	var body code
	for i, s := range g.streams {
		body.add(g.messages(s, rowsApart("SI", 64, i*lanes*64)))
	}
	body.op("CALL hash<>(SB)")
	for i, s := range g.streams {
		body.add(g.rowsOut(s, 32, i*lanes*32))
	}
	body.op("ADDQ $%d, SI", n*lanes*64)
	body.op("ADDQ $%d, DI", n*lanes*32)
	g.kernel("nodes", "hashes pairs of nodes in rows, a vector of lanes to a group and stream.\nIt may work in place.",
		[]param{dst, src}, body)

	body = nil
	for i, s := range g.streams {
		body.add(g.columnsIn(s, 2*i*g.column()))
	}
	body.op("CALL hash<>(SB)")
	for i, s := range g.streams {
		body.add(g.columnOut(s, i*g.column()))
	}
	body.op("ADDQ $%d, SI", n*2*g.column())
	body.op("ADDQ $%d, DI", n*g.column())
	g.kernel("columns", "hashes pairs of columns to columns, a pair to a group and stream.\nIt may work in place.",
		[]param{dst, src}, body)
}

// quads adds the kernels that make nodes of raw bytes.
func (g *commp) quads() {
	var body code
	body.add(g.quad(func(s *stream, part int) code { return g.rowsOut(s, 64, 32*part) }))
	body.op("ADDQ $%d, SI", g.v.lanes*quadRaw)
	body.op("ADDQ $%d, DI", g.v.lanes*64)
	c := code{}
	c.op("MOVQ $%d, R8", quadRaw)
	c.add(body)
	g.kernel("quads", "hashes quads of raw bytes, as many as there are lanes to a group, to two\nnodes each in rows.",
		[]param{dst, src}, c)

	body = g.quad(func(s *stream, part int) code { return g.columnOut(s, part*g.column()) })
	body.op("ADDQ $%d, SI", quadRaw)
	body.op("ADDQ $%d, DI", 2*g.column())
	g.kernel("raw", "hashes a quad of each lane to a group, to two columns. The lanes of raw bytes\nare stride bytes apart.",
		[]param{dst, src, {"stride", "int", "R8"}}, body)
}

// quad hashes the two messages of a quad in each lane, on as many streams as
// there are, and puts the nodes out.
func (g *commp) quad(put func(s *stream, part int) code) (c code) {
	for part := range 2 {
		s := g.streams[part%len(g.streams)]
		c.add(g.halfQuads(s, rowsStride("SI", "R8", "AX", "CX", part*half), part))
		if part == 1 || len(g.streams) == 1 {
			c.op("CALL hash<>(SB)")
		}
		if len(g.streams) == 1 {
			c.add(put(s, part))
		}
	}
	if len(g.streams) == 2 {
		c.add(put(g.streams[0], 0), put(g.streams[1], 1))
	}
	return c
}

// register is where word i of a message is while it is made, and whether it
// has to be stored from there: on AVX2 one register must do.
func (g *commp) register(s *stream, i int) (reg string, store bool) {
	reg = g.v.r(0)
	if g.v.rotates {
		reg = g.v.r(zRow + i)
	}
	return reg, s.word(i) != reg
}

// columnsIn makes two columns that follow each other the stream's messages.
func (g *commp) columnsIn(s *stream, off int) (c code) {
	for i := range 16 {
		reg, store := g.register(s, i)
		c.add(g.load(at("SI", off+i*g.v.bytes()), reg))
		if store {
			c.add(g.store(reg, s.word(i)))
		}
	}
	return c
}

// columnOut stores the stream's digests as a column.
func (g *commp) columnOut(s *stream, off int) (c code) {
	for i, r := range s.state {
		c.add(g.store(g.v.r(r), at("DI", off+i*g.v.bytes())))
	}
	return c
}

// rowsOut stores the stream's digests as rows.
func (g *commp) rowsOut(s *stream, distance, off int) (c code) {
	if !g.v.rotates {
		return g.rowsOut256("DI", distance, off)
	}
	return g.rowsOut512(s.state, "DI", distance, off)
}

// messages makes 64 bytes of each row the stream's messages.
func (g *commp) messages(s *stream, from rows) (c code) {
	if !g.v.rotates {
		c.op("VMOVDQU %s, Y15", g.byteSwap(g.v))
		c.add(words256(from, "Y15", s.word))
		return c
	}
	c.add(words512(from))
	c.op("VMOVDQU64 %s, Z0", g.byteSwap(g.v))
	for i := range 16 {
		c.add(g.finishWord(s, i, "Z0"))
	}
	return c
}

// finishWord turns the bytes of word i in its register round and puts it where
// the stream has it.
func (g *commp) finishWord(s *stream, i int, swap string) (c code) {
	reg, store := g.register(s, i)
	c.op("VPSHUFB %s, %s, %s", swap, reg, reg)
	if store {
		c.add(g.store(reg, s.word(i)))
	}
	return c
}

func at(base string, off int) string { return fmt.Sprintf("%d(%s)", off, base) }
