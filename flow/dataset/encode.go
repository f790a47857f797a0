package dataset

import (
	"errors"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
)

// Zstd is the one compression there is.
const Zstd = "zstd"

// maxRecipients bounds who can open an encrypted dataset: each costs every
// file about 100 bytes.
const maxRecipients = 100

// encoded reports whether files are changed on their way into a piece.
func (r Rules) encoded() bool { return r.Compress != "" || len(r.Encrypt) > 0 }

// encodes reports whether two rules change files alike, so that what one has
// packed serves the other.
func (r Rules) encodes(other Rules) bool {
	return r.Compress == other.Compress && slices.Equal(r.Encrypt, other.Encrypt)
}

func (r Rules) checkEncoding() error {
	if !r.encoded() {
		return nil
	}
	if r.Compress != "" && r.Compress != Zstd {
		return fault.New(fault.Invalid, "compression %.40q: only %q is known", r.Compress, Zstd)
	}
	if len(r.Encrypt) > maxRecipients {
		return fault.New(fault.Invalid, "encryption: %d recipients, at most %d", len(r.Encrypt), maxRecipients)
	}
	if _, err := r.recipients(); err != nil {
		return err
	}
	if r.Export == "" {
		return fault.New(fault.Invalid, "compressed or encrypted pieces cannot be read from their sources: name a directory to export the CARs to")
	}
	return nil
}

// recipients are who can open encrypted files, none if they are not.
func (r Rules) recipients() (all []age.Recipient, err error) {
	for _, text := range r.Encrypt {
		one, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fault.New(fault.Invalid, "recipient %.100q: is no public key of age (age1…)", text)
		}
		all = append(all, one...)
	}
	return all, nil
}

// most is the most bytes that a file of that size can come to.
func (r Rules) most(size int64) int64 {
	if r.Compress != "" {
		size += size>>7 + 1024 // blocks that do not shrink are kept as they are
	}
	if n := int64(len(r.Encrypt)); n > 0 {
		size += (size/(64<<10)+1)*16 + 512 + 256*n // a tag for 64 KiB, and the header
	}
	return size
}

// encodedFile is a file of a source that is changed on its way.
type encodedFile struct {
	sourceFile
	rules Rules
	out   *io.PipeReader
	ended chan struct{}
}

func (r Rules) encode(f sourceFile) pack.File { return &encodedFile{sourceFile: f, rules: r} }

// Stream returns the file, or a span of it, compressed and then encrypted, as
// the rules say. The reader is good until Close.
func (f *encodedFile) Stream(offset, span int64) io.Reader {
	if span == 0 {
		span = f.Item().Size
	}
	r, w := io.Pipe()
	f.out, f.ended = r, make(chan struct{})
	go func() {
		defer close(f.ended)
		w.CloseWithError(f.write(w, offset, span))
	}()
	return r
}

// Close ends the stream, too.
func (f *encodedFile) Close() error {
	if f.out != nil {
		_ = f.out.Close()
		<-f.ended
	}
	return f.sourceFile.Close()
}

func (f *encodedFile) write(w io.Writer, offset, span int64) error {
	var layers []io.Closer // the outermost first
	to, err := f.rules.recipients()
	if err != nil {
		return err
	}
	if len(to) > 0 {
		sealed, err := age.Encrypt(w, to...)
		if err != nil {
			return fault.Wrap(err, "encrypt")
		}
		w, layers = sealed, append(layers, sealed)
	}
	if f.rules.Compress != "" {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return fault.Wrap(err, "compress")
		}
		w, layers = z, append(layers, z)
	}
	n, err := io.Copy(w, io.NewSectionReader(f.File, offset, span))
	if err == nil && n != span {
		err = fault.New(fault.Conflict, "changed since the scan: ends at byte %d of %d", offset+n, f.Item().Size)
	}
	for _, layer := range slices.Backward(layers) {
		err = errors.Join(err, layer.Close())
	}
	return err
}
