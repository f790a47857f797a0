package pack

// move is a run of bytes of a batch: from pos in its buffer, or data.
type move struct {
	pos, n int
	data   []byte
}

// appendMove appends bytes of the buffer, to those before if they touch.
func appendMove(moves []move, pos, n int) []move {
	if k := len(moves) - 1; k >= 0 && moves[k].data == nil && moves[k].pos+moves[k].n == pos {
		moves[k].n += n
		return moves
	}
	return append(moves, move{pos: pos, n: n})
}

// arrange brings the bytes of a batch together in its buffer and returns them.
// As a rule they are where they were read to and only nodes are written into
// their gaps. Where leaves were left out, what is behind moves up: first what
// moves towards the beginning, from the beginning on, then what moves towards
// the end, from the end on, so that nothing runs over what is still to move.
func (b *batch) arrange(aligned bool) []byte {
	base := b.base
	if aligned {
		base = int(b.off % pageBytes)
	}
	to := base
	for i := range b.moves {
		m := &b.moves[i]
		if m.data == nil && to < m.pos {
			copy(b.buf[to:], b.buf[m.pos:m.pos+m.n])
			m.pos = to
		}
		to += m.n
	}
	end := to
	for i := len(b.moves) - 1; i >= 0; i-- {
		m := &b.moves[i]
		to -= m.n
		if m.data == nil && to > m.pos {
			copy(b.buf[to:to+m.n], b.buf[m.pos:])
		}
	}
	for _, m := range b.moves {
		copy(b.buf[to:], m.data)
		to += m.n
	}
	return b.buf[base:end]
}
