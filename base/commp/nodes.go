package commp

// nodes is a list of nodes of which memory is taken for those that were set,
// chunkNodes at a time.
type nodes struct {
	n     int
	chunk [][]Node
}

const chunkNodes = 1024 // 32 KiB, of 127 MiB of data

func newNodes(n int) nodes {
	return nodes{n, make([][]Node, (n+chunkNodes-1)/chunkNodes)}
}

// at returns node i, zeros if it was not set.
func (l *nodes) at(i int) Node {
	if c := l.chunk[i/chunkNodes]; c != nil {
		return c[i%chunkNodes]
	}
	return Node{}
}

func (l *nodes) put(i int, n Node) {
	c := &l.chunk[i/chunkNodes]
	if *c == nil {
		*c = make([]Node, min(chunkNodes, l.n-i/chunkNodes*chunkNodes))
	}
	(*c)[i%chunkNodes] = n
}

// resized is a copy of another length; what is behind kept is as never set.
func (l *nodes) resized(n, kept int) nodes {
	out := newNodes(n)
	for i, c := range l.chunk {
		from := i * chunkNodes
		if c == nil || from >= min(kept, n) {
			continue
		}
		out.chunk[i] = make([]Node, min(chunkNodes, n-from))
		copy(out.chunk[i], c[:min(len(c), kept-from)])
	}
	return out
}

// list returns a copy of nodes from to end-1.
func (l *nodes) list(from, end int) []Node {
	out := make([]Node, 0, end-from)
	for i := from; i < end; i++ {
		out = append(out, l.at(i))
	}
	return out
}
