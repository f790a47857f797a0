package sha256x

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"io"
)

const blockSize = sha256.BlockSize

// run is a message on its way through a lane.
type run struct {
	out   *[32]byte
	msg   []byte
	body  []byte              // whole blocks of msg, not hashed yet
	tail  []byte              // whole blocks of pad, to be hashed after them
	pad   [2 * blockSize]byte // the end of msg and the padding
	state [8]uint32           // while it is in no lane
}

// begin makes r the message msg from its first block on.
func (r *run) begin(out *[32]byte, msg []byte) {
	whole := len(msg) / blockSize * blockSize
	r.out, r.msg, r.body = out, msg, msg[:whole]
	r.state = [8]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}
	rest := copy(r.pad[:], msg[whole:])
	clear(r.pad[rest:])
	r.pad[rest] = 0x80
	r.tail = r.pad[:blockSize]
	if rest+1+8 > blockSize {
		r.tail = r.pad[:]
	}
	binary.BigEndian.PutUint64(r.tail[len(r.tail)-8:], uint64(len(msg))*8)
}

// next returns the blocks that follow, one at least.
func (r *run) next() []byte {
	if len(r.body) > 0 {
		return r.body
	}
	return r.tail
}

// advance steps over n blocks of next and reports whether they were the last.
func (r *run) advance(n int) (done bool) {
	if len(r.body) > 0 {
		r.body = r.body[n*blockSize:]
		return false
	}
	r.tail = r.tail[n*blockSize:]
	return len(r.tail) == 0
}

// end writes the digest and forgets the message.
func (r *run) end() {
	for i, w := range r.state {
		binary.BigEndian.PutUint32(r.out[4*i:], w)
	}
	r.forget()
}

func (r *run) forget() { r.out, r.msg, r.body, r.tail = nil, nil, nil, nil }

// alone finishes runs that are not worth a lane by crypto/sha256, which takes
// up a state as it takes up a hash that was saved.
type alone struct {
	hash  saver
	saved []byte
}

type saver interface {
	io.Writer
	encoding.BinaryUnmarshaler
	encoding.BinaryAppender
}

// newAlone relies on what crypto/sha256 documents of New.
func newAlone() alone { return alone{hash: sha256.New().(saver)} }

// finish hashes what is left of r, padding and all: then the state is the
// digest. A Go that saves hashes in another way has it begin anew.
func (a *alone) finish(r *run) {
	const magic = "sha\x03"
	var waiting [blockSize]byte
	a.saved = append(a.saved[:0], magic...)
	for _, w := range r.state {
		a.saved = binary.BigEndian.AppendUint32(a.saved, w)
	}
	a.saved = append(a.saved, waiting[:]...)
	a.saved = binary.BigEndian.AppendUint64(a.saved, 0) // bytes so far, of which none wait
	if a.hash.UnmarshalBinary(a.saved) != nil {
		*r.out = sha256.Sum256(r.msg)
		r.forget()
		return
	}
	a.hash.Write(r.body)
	a.hash.Write(r.tail)
	a.saved, _ = a.hash.AppendBinary(a.saved[:0])
	copy(r.out[:], a.saved[len(magic):])
	r.forget()
}
