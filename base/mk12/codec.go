package mk12

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"

	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/firth-project/firth/base/fault"
)

// Encode returns the message's bytes as they go over the wire. Of a
// DealProposal they are the bytes to sign, of a StorageAsk too. A message that
// has no wire form (an undefined CID or address, a signature of no type, a text
// over its limit) is Invalid.
func Encode(message cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	err := message.MarshalCBOR(&buf)
	if err == nil {
		err = readable(message, buf.Bytes())
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "encode %s: %w", nameOf(message), err)
	}
	if buf.Len() > MaxMessage {
		return nil, fault.New(fault.Invalid, "encode %s: %d bytes, at most %d are allowed", nameOf(message), buf.Len(), MaxMessage)
	}
	return buf.Bytes(), nil
}

// readable makes sure that what was written can be read: some zero values write
// bytes that every reader refuses, and the far side would do so without a word.
func readable(message any, data []byte) error {
	t := reflect.TypeOf(message)
	if t.Kind() != reflect.Pointer {
		return nil
	}
	fresh, ok := reflect.New(t.Elem()).Interface().(cbg.CBORUnmarshaler)
	if !ok {
		return nil
	}
	return fresh.UnmarshalCBOR(bytes.NewReader(data))
}

// Decode is the inverse of Encode. Unknown keys are skipped, absent ones leave
// the zero value. Anything but one whole message of at most MaxMessage bytes is
// Invalid.
func Decode(data []byte, message cbg.CBORUnmarshaler) error {
	r := bytes.NewReader(data)
	item, err := readItem(r, MaxMessage)
	if err == nil && r.Len() > 0 {
		err = fmt.Errorf("%d bytes follow the message", r.Len())
	}
	if err != nil {
		return fault.New(fault.Invalid, "decode %s: %w", nameOf(message), err)
	}
	return unmarshal(item, message)
}

// Read decodes one message from a stream that need not end after it; what
// follows may be swallowed. Memory grows with the bytes that arrive, not with
// the lengths they claim. A stream that breaks is Unavailable, any other
// failure means a malformed message: Invalid.
func Read(r io.Reader, message cbg.CBORUnmarshaler) error {
	source := &remembering{r: r}
	item, err := readItem(bufio.NewReader(source), MaxMessage)
	switch {
	case err == nil:
		return unmarshal(item, message)
	case source.err != nil && source.err != io.EOF:
		return fault.New(fault.Unavailable, "read %s: %w", nameOf(message), source.err)
	}
	return fault.New(fault.Invalid, "decode %s: %w", nameOf(message), err)
}

// remembering keeps the error its reader ended with, which a decoder on top may
// replace by its own words.
type remembering struct {
	r   io.Reader
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.err = err
	return n, err
}

// unmarshal decodes an item that is known to be complete: the codec allocates
// by the lengths it reads, and here every one of them is covered by data.
func unmarshal(item []byte, message cbg.CBORUnmarshaler) error {
	if err := message.UnmarshalCBOR(bytes.NewReader(item)); err != nil {
		return fault.New(fault.Invalid, "decode %s: %w", nameOf(message), err)
	}
	return nil
}

// readItem returns the bytes of the next CBOR item, at most limit. Only the
// definite, shortest-form lengths of DAG-CBOR are understood.
func readItem(r io.Reader, limit uint64) ([]byte, error) {
	var buf bytes.Buffer
	copied := io.TeeReader(r, &buf)
	scratch := make([]byte, 8)
	for remaining := uint64(1); remaining > 0; remaining-- {
		major, n, err := cbg.CborReadHeaderBuf(copied, scratch)
		if err != nil {
			return nil, fmt.Errorf("after %d bytes: %w", buf.Len(), err)
		}
		room := limit - min(limit, uint64(buf.Len()))
		switch major {
		case cbg.MajByteString, cbg.MajTextString:
			if n > room {
				return nil, tooLong(limit)
			}
			if _, err := io.CopyN(&buf, r, int64(n)); err != nil {
				return nil, fmt.Errorf("after %d bytes: %w", buf.Len(), err)
			}
		case cbg.MajTag:
			remaining++
		case cbg.MajArray, cbg.MajMap:
			if n > room { // each element takes a byte at least
				return nil, tooLong(limit)
			}
			remaining += n
			if major == cbg.MajMap {
				remaining += n
			}
		}
		if uint64(buf.Len())+remaining-1 > limit {
			return nil, tooLong(limit)
		}
	}
	return buf.Bytes(), nil
}

func tooLong(limit uint64) error {
	return fmt.Errorf("message is longer than %d bytes", limit)
}

// nameOf returns "DealParams" of a *mk12.DealParams.
func nameOf(message any) string {
	name := fmt.Sprintf("%T", message)
	return name[strings.LastIndexByte(name, '.')+1:]
}
