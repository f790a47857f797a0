package commp

// span is a range of quads of a tree, the unit in which bytes are proved.
type span struct {
	first, end int64 // first quad, and one past the last
	height     int   // of the tree
}

func (p *Proof) span() span {
	return span{p.Offset / quadRaw, (p.Offset + p.Length + quadRaw - 1) / quadRaw, p.Height}
}

// top is the height of the roots of slots; of a tree within one slot, its own.
func (s span) top() int { return min(slotHeight, s.height) }

func (s span) firstSlot() int64 { return s.first / slotQuads }
func (s span) lastSlot() int64  { return (s.end - 1) / slotQuads }

// inside cuts the span to one of its slots, in quads from the slot's start.
func (s span) inside(slot int64) (first, end int64) {
	return max(s.first-slot*slotQuads, 0), min(s.end-slot*slotQuads, slotQuads)
}

// sibling returns the node that a climb lacks, by height and index there.
type sibling func(height int, index int64) (Node, error)

// climb folds nodes, neighbours at the height from, the first of which has the
// index first, up to the one node over them all at the height to. The caller
// sees to it that there is one.
func (e *engine) climb(nodes []Node, first int64, from, to int, lacking sibling) (Node, error) {
	for h := from; h < to; h++ {
		if first%2 == 1 {
			n, err := lacking(h, first-1)
			if err != nil {
				return Node{}, err
			}
			nodes = append([]Node{n}, nodes...)
		}
		if len(nodes)%2 == 1 {
			n, err := lacking(h, first/2*2+int64(len(nodes)))
			if err != nil {
				return Node{}, err
			}
			nodes = append(nodes, n)
		}
		for i := range len(nodes) / 2 {
			nodes[i] = e.join(nodes[2*i], nodes[2*i+1])
		}
		nodes, first = nodes[:len(nodes)/2], first/2
	}
	return nodes[0], nil
}

// quadNodes returns the nodes of height 2 over at most a slot of raw bytes.
func (e *engine) quadNodes(raw []byte) []Node {
	level := e.halve(e.quads(raw), 1)
	nodes := make([]Node, len(level)/nodeSize)
	for i := range nodes {
		nodes[i] = Node(level[i*nodeSize:])
	}
	return nodes
}
