package commp

import (
	"io"

	cbg "github.com/whyrusleeping/cbor-gen"
)

// maxSiblings is more than any tree is high.
const maxSiblings = 64

// MarshalCBOR writes the proof as it travels between aggregators, clients and
// contracts: [[index, [sibling, …]], [index, [sibling, …]]], for the piece, then
// for its entry (FRC-0058, "Inclusion proof").
func (in Inclusion) MarshalCBOR(w io.Writer) error {
	b := []byte{cbg.MajArray<<5 | 2}
	for _, p := range []Path{in.Subtree, in.Entry} {
		if len(p.Siblings) > maxSiblings {
			return inputError("path of %d siblings, at most %d", len(p.Siblings), maxSiblings)
		}
		b = append(b, cbg.MajArray<<5|2)
		b = append(b, cbg.CborEncodeMajorType(cbg.MajUnsignedInt, p.Index)...)
		b = append(b, cbg.CborEncodeMajorType(cbg.MajArray, uint64(len(p.Siblings)))...)
		for _, n := range p.Siblings {
			b = append(append(b, cbg.CborEncodeMajorType(cbg.MajByteString, nodeSize)...), n[:]...)
		}
	}
	_, err := w.Write(b)
	return err
}

// UnmarshalCBOR reads what MarshalCBOR writes and not a byte more. The error is
// ErrInput for anything else; whether the proof proves something says Verify.
func (in *Inclusion) UnmarshalCBOR(r io.Reader) error {
	cr := cbg.NewCborReader(r)
	if err := head(cr, cbg.MajArray, 2); err != nil {
		return err
	}
	var read [2]Path
	for i := range read {
		if err := read[i].unmarshal(cr); err != nil {
			return err
		}
	}
	in.Subtree, in.Entry = read[0], read[1]
	return nil
}

func (p *Path) unmarshal(r *cbg.CborReader) error {
	if err := head(r, cbg.MajArray, 2); err != nil {
		return err
	}
	major, index, err := r.ReadHeader()
	if err != nil || major != cbg.MajUnsignedInt {
		return inputError("inclusion proof: no index where one is due: %v", err)
	}
	major, n, err := r.ReadHeader()
	if err != nil || major != cbg.MajArray || n > maxSiblings {
		return inputError("inclusion proof: no list of up to %d siblings where one is due: %v", maxSiblings, err)
	}
	p.Index, p.Siblings = index, make([]Node, n)
	for i := range p.Siblings {
		if err := head(r, cbg.MajByteString, nodeSize); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, p.Siblings[i][:]); err != nil {
			return inputError("inclusion proof: sibling %d: %v", i, err)
		}
	}
	return nil
}

// head reads the head of an item that has to be this one.
func head(r *cbg.CborReader, major byte, n uint64) error {
	if m, got, err := r.ReadHeader(); err != nil || m != major || got != n {
		return inputError("inclusion proof: CBOR item of type %d and length %d, want %d and %d: %v", m, got, major, n, err)
	}
	return nil
}
