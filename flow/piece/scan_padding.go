package piece

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/dag"
)

// Providers keep and hand out a piece as its CAR and zeros up to the piece's
// size. Such a file stands for its piece as it is: the zeros are no part of the
// CAR. Zeros behind the blocks of a file of any other size may be a download
// that was not finished, and are damage.

// pieceSize returns the padded size of the piece that a file of so many bytes
// fills to its end; 0 if that is none.
func pieceSize(file int64) uint64 {
	if file <= 0 {
		return 0
	}
	padded := commp.PaddedSize(uint64(file))
	if commp.MaxRawSize(padded) != uint64(file) {
		return 0
	}
	return padded
}

// ends reports whether a section of no bytes is where the padding begins.
func (s *scan) ends() bool { return s.padding && s.inner == 0 && s.count > 0 && pieceSize(s.hint) > 0 }

// pad reads the padding to the end of the file; rest is what the window has of
// it. The CAR ends before.
func (s *scan) pad(ctx context.Context, rest []byte) error {
	begin := s.next
	at, buf := begin, make([]byte, 64<<10)
	zeros := make([]byte, len(buf))
	for {
		for len(rest) > 0 {
			n := min(len(rest), len(zeros))
			if !bytes.Equal(rest[:n], zeros[:n]) {
				at += int64(len(rest) - len(bytes.TrimLeft(rest, "\x00")))
				return s.broken(dag.CARZeroSection, fmt.Errorf("zeros follow the blocks, and other bytes the zeros at byte %d", at))
			}
			at, rest = at+int64(n), rest[n:]
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.progress != nil {
			s.progress(at)
		}
		n, err := s.in.Read(buf)
		rest = buf[:n]
		if n == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return s.cutShort(err)
		}
	}
	if at != s.hint {
		return s.broken(dag.CARTruncated, fmt.Errorf("padded to %d bytes, of which there are %d", s.hint, at))
	}
	s.padded, s.size = pieceSize(s.hint), begin
	return nil
}
