package pack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/dag"
	"github.com/firth-project/firth/base/fault"
)

// outcomes is the append-only file of a run's outcomes, in the order of the
// entries: each its length and then, as uvarints and texts, why it was skipped
// or what was made of it.
type outcomes struct{ appended }

// kinds of stored outcomes
const (
	outcomeSkipped = iota
	outcomeWhole   // a file or a link: its top is the link
	outcomePart
	outcomeDirectory
	outcomeScattered = 4 // added to the others
)

func openOutcomes(name string, size int64) (*outcomes, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = fault.New(fault.Conflict, "outcomes in %s: %d bytes, %d are wanted", name, info.Size(), size)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &outcomes{appended{f: f, flushed: size}}, nil
}

// add appends an outcome of the kind.
func (o *outcomes) add(kind int, out Outcome) error {
	if out.Scattered {
		kind += outcomeScattered
	}
	return o.grow(func(b []byte) []byte {
		start := len(b)
		b = append(b, 0, 0, 0, byte(kind))
		if kind == outcomeSkipped {
			b = append(b, out.Skipped...)
		} else {
			b = binary.AppendUvarint(b, uint64(out.CAROffset))
			b = binary.AppendUvarint(b, uint64(out.CARLength))
			for _, t := range out.Tops {
				b = binary.AppendUvarint(b, uint64(t.Level))
				b = binary.AppendUvarint(b, uint64(t.Index))
				b = binary.AppendUvarint(b, uint64(t.Size))
				b = binary.AppendUvarint(b, t.TreeSize)
				b = append(b, t.Cid.Bytes()...)
			}
		}
		n := len(b) - start - 3
		b[start], b[start+1], b[start+2] = byte(n), byte(n>>8), byte(n>>16)
		return b
	})
}

// each yields what was added. It must not be called while outcomes are added.
func (o *outcomes) each(yield func(Outcome, error) bool) {
	if err := o.flush(); err != nil {
		yield(Outcome{}, err)
		return
	}
	readOutcomes(io.NewSectionReader(o.f, 0, o.flushed))(yield)
}

// outcomesIn reads the file of outcomes called name, size bytes of it.
func outcomesIn(name string, size int64) Outcomes {
	return func(yield func(Outcome, error) bool) {
		f, err := os.Open(name)
		if err != nil {
			yield(Outcome{}, err)
			return
		}
		defer f.Close()
		readOutcomes(io.NewSectionReader(f, 0, size))(yield)
	}
}

func readOutcomes(r io.Reader) Outcomes {
	return func(yield func(Outcome, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		var head [3]byte
		var body []byte
		for number := int64(0); ; number++ {
			_, err := io.ReadFull(in, head[:])
			if errors.Is(err, io.EOF) {
				return
			}
			var out Outcome
			if err == nil {
				body = append(body[:0], make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)...)
				if _, err = io.ReadFull(in, body); err == nil {
					out, err = decodeOutcome(body)
				}
			}
			out.Entry = number
			if err != nil {
				err = fault.New(fault.Internal, "outcome of entry %d: cannot be read: %w", number, err)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

var errOutcome = errors.New("is damaged")

func decodeOutcome(b []byte) (out Outcome, err error) {
	if len(b) == 0 {
		return out, errOutcome
	}
	kind := int(b[0])
	b = b[1:]
	if kind == outcomeSkipped {
		out.Skipped = string(b)
		return out, nil
	}
	out.Scattered = kind >= outcomeScattered
	number := func() uint64 {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			b, err = nil, errOutcome
			return 0
		}
		b = b[used:]
		return n
	}
	out.CAROffset, out.CARLength = int64(number()), int64(number())
	for err == nil && len(b) > 0 {
		t := dag.Top{Level: int(number()), Index: int64(number())}
		t.Size, t.TreeSize = int64(number()), number()
		n, c, cidErr := cid.CidFromBytes(b)
		if err != nil || cidErr != nil {
			return Outcome{}, errOutcome
		}
		t.Cid, b = c, b[n:]
		out.Tops = append(out.Tops, t)
	}
	if kind&^outcomeScattered == outcomeWhole && len(out.Tops) == 1 {
		out.Link = out.Tops[0].Link
	}
	return out, err
}
