package indexdag

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// Place is where pieces, nodes of indexes and IPNS records are got. Nothing it
// gives is trusted: it may be wrong, too short or too long. An error is
// NotFound when the place has not what was asked for, Unavailable when it may
// have it another time.
type Place interface {
	// Range opens the bytes of the CAR of a piece from offset on; reading ends
	// after length bytes or where the CAR ends.
	Range(ctx context.Context, piece cid.Cid, offset, length int64) (io.ReadCloser, error)
	// Block returns the bytes of one block.
	Block(ctx context.Context, c cid.Cid) ([]byte, error)
	// Record returns the IPNS record of a name, k51….
	Record(ctx context.Context, name string) ([]byte, error)
	// String names the place for people.
	String() string
}

// OpenPlace returns the place that a URL (of a piece server, a trustless
// gateway or a storage provider) or the path of a directory of CARs names. The
// client asks URLs; nil is one that gives up on servers that answer nothing
// for a minute. Anything else is Invalid, a directory that is not there
// NotFound.
func OpenPlace(where string, client *http.Client) (Place, error) {
	if scheme, _, ok := strings.Cut(where, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return nil, fault.New(fault.Invalid, "%s: %s is no protocol to get pieces by; name an http or https URL, or a directory", where, scheme)
		}
		return newWebPlace(where, client)
	}
	return newCARDirectory(where)
}

// verify holds the bytes of a block to its CID, whose hash has to be one that
// proves something.
func verify(c cid.Cid, data []byte) error {
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c); err != nil {
		return fault.New(fault.Invalid, "block %s: %w", c, err)
	}
	got, err := c.Prefix().Sum(data)
	if err != nil {
		return fault.New(fault.Invalid, "block %s: %w", c, err)
	}
	if !got.Equals(c) {
		return fault.New(fault.Invalid, "block %s: wrong bytes, those of %s", c, got)
	}
	return nil
}

// inline returns the bytes an identity CID consists of.
func inline(c cid.Cid) ([]byte, bool) {
	if c.Prefix().MhType != mh.IDENTITY {
		return nil, false
	}
	d, err := mh.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return d.Digest, true
}

// diskError gives an error of the operating system its kind.
func diskError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.Mark(fault.NotFound, err)
	case errors.Is(err, fs.ErrExist):
		return fault.Mark(fault.Conflict, err)
	case errors.Is(err, fs.ErrPermission):
		return fault.Mark(fault.Forbidden, err)
	case noSpace(err):
		return fault.Mark(fault.Exhausted, err)
	}
	return err
}
