package commp

import (
	"errors"
	"io"
)

// Writer computes the commitment of a byte stream as it is written. It is for
// one goroutine, starts none and needs no Close. The zero Writer is not usable.
//
// Memory is one slot of data and one of nodes, about 200 KiB, whatever the
// length of the stream.
type Writer struct {
	engine *engine
	peaks  peaks
	carry  []byte // the bytes of the slot that is not full yet
}

// New returns an empty Writer.
func New() *Writer { return newWriter(chosen()) }

func newWriter(k kernel) *Writer {
	return &Writer{engine: newEngine(k), carry: make([]byte, 0, SlotRaw)}
}

// Reset empties the Writer for the next stream.
func (w *Writer) Reset() {
	w.peaks.slots, w.engine.held = 0, 0
	w.carry = w.carry[:0]
}

// Size returns the raw bytes written since New or Reset.
func (w *Writer) Size() uint64 {
	return (w.peaks.slots+uint64(w.engine.held))*SlotRaw + uint64(len(w.carry))
}

// Write appends p to the stream. It fails, with ErrInput and nothing taken,
// only where the stream would outgrow MaxPaddedSize.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.room(uint64(len(p))); err != nil {
		return 0, err
	}
	n := len(p)
	if len(w.carry) > 0 {
		k := min(SlotRaw-len(w.carry), len(p))
		w.carry = append(w.carry, p[:k]...)
		p = p[k:]
		w.flush()
	}
	for ; len(p) >= SlotRaw; p = p[SlotRaw:] {
		w.slot(p[:SlotRaw])
	}
	w.carry = append(w.carry, p...)
	return n, nil
}

// ReadFrom appends all that r gives until io.EOF, without the copy that Write
// makes of what is less than a slot. It fails as Write does, and with what r
// fails with; what was read before is part of the stream.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		at := len(w.carry)
		k, err := r.Read(w.carry[at:SlotRaw])
		if err := w.room(uint64(k)); err != nil {
			return n, err
		}
		w.carry = w.carry[:at+k]
		w.flush()
		n += int64(k)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// slot appends a whole slot.
func (w *Writer) slot(raw []byte) {
	w.engine.hold(raw)
	if w.engine.held == batchSlots {
		w.push(&w.peaks)
		w.engine.held = 0
	}
}

// push appends the slots held to peaks.
func (w *Writer) push(p *peaks) {
	for roots := w.engine.roots(); len(roots) > 0; roots = roots[nodeSize:] {
		p.push(w.engine, Node(roots), slotHeight)
	}
}

// WriteZeros appends n zero bytes, at the cost of a few hundred hashes at most
// however many they are. It fails as Write does.
func (w *Writer) WriteZeros(n uint64) error {
	if err := w.room(n); err != nil {
		return err
	}
	if len(w.carry) > 0 {
		k := min(uint64(SlotRaw-len(w.carry)), n)
		w.appendZeros(int(k))
		n -= k
		w.flush()
	}
	if n >= SlotRaw {
		w.push(&w.peaks)
		w.engine.held = 0
	}
	for n >= SlotRaw {
		h := slotHeight
		for h < maxHeight && w.peaks.slots>>(h-slotHeight)&1 == 0 && MaxRawSize(nodeSize<<(h+1)) <= n {
			h++
		}
		w.peaks.push(w.engine, w.engine.zero[h], h)
		n -= MaxRawSize(nodeSize << h)
	}
	w.appendZeros(int(n))
	return nil
}

func (w *Writer) room(n uint64) error {
	if limit := MaxRawSize(MaxPaddedSize); n > limit-w.Size() {
		return inputError("%d bytes after %d: a piece holds %d", n, w.Size(), limit)
	}
	return nil
}

func (w *Writer) appendZeros(n int) {
	at := len(w.carry)
	w.carry = w.carry[:at+n]
	clear(w.carry[at:])
}

// flush hashes the carried slot when it is full.
func (w *Writer) flush() {
	if len(w.carry) == SlotRaw {
		w.slot(w.carry)
		w.carry = w.carry[:0]
	}
}

// Sum returns the piece of everything written so far. The Writer stays as it
// was and may be written on. Data shorter than 127 bytes, nothing at all
// included, is extended with zeros (FRC-0069). The error is always nil; Tree
// has the same verb and may be incomplete.
func (w *Writer) Sum() (Piece, error) { return w.sum(heightOf(w.Size())), nil }

// SumPadded is Sum for a piece of a larger size, as a deal may want it: the
// data is extended with zeros up to padded bytes. The error is ErrInput when
// padded is no piece size or too small.
func (w *Writer) SumPadded(padded uint64) (Piece, error) {
	h, err := heightOfPadded(padded, w.Size())
	if err != nil {
		return Piece{}, err
	}
	return w.sum(h), nil
}

func (w *Writer) sum(height int) Piece {
	if height < slotHeight {
		return pieceOf(w.engine.root(w.carry, height), w.Size(), height)
	}
	p := w.peaks
	w.push(&p)
	if len(w.carry) > 0 {
		p.push(w.engine, w.engine.root(w.carry, slotHeight), slotHeight)
	}
	return pieceOf(p.root(w.engine, height), w.Size(), height)
}
