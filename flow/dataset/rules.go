package dataset

import (
	"fmt"
	"math/bits"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// Rules are how a dataset is filtered, cut and packed.
type Rules struct {
	PieceSize    int64    `json:"piece_size"`               // padded bytes of a full piece, a power of two; 0 is 32 GiB
	MinPieceSize int64    `json:"min_piece_size,omitempty"` // smaller pieces are padded up to it; 0 is the node's
	ChunkMin     int64    `json:"chunk_min,omitempty"`      // bytes of CAR; 0 is 0.6 of what the piece takes
	ChunkMax     int64    `json:"chunk_max,omitempty"`      // bytes of CAR; 0 is 0.9 of what the piece takes
	Include      []string `json:"include,omitempty"`        // globs, see base/source; none is all
	Exclude      []string `json:"exclude,omitempty"`
	NoHidden     bool     `json:"no_hidden,omitempty"` // leave out what begins with a dot
	NoDedup      bool     `json:"no_dedup,omitempty"`  // keep equal blocks of a piece each
	Export       string   `json:"export,omitempty"`    // absolute directory, or s3://bucket/prefix, for <piece cid>.car; "" writes no CARs
	Compress     string   `json:"compress,omitempty"`  // Zstd or ""; needs Export
	Encrypt      []string `json:"encrypt,omitempty"`   // age recipients (age1…) that can open the files; needs Export
}

// Bounds of a piece, in padded bytes.
const (
	MinPieceSize     = 4 << 20
	MaxPieceSize     = 64 << 30
	DefaultPieceSize = 32 << 30
)

// complete fills what is left open in and checks the rest.
func (r Rules) complete() (_ Rules, err error) {
	if r.PieceSize == 0 {
		r.PieceSize = DefaultPieceSize
	}
	if err := checkPieceSize("piece size", r.PieceSize); err != nil {
		return r, err
	}
	if r.MinPieceSize != 0 {
		if err := checkPieceSize("least piece size", r.MinPieceSize); err != nil {
			return r, err
		}
		if r.MinPieceSize > r.PieceSize {
			return r, fault.New(fault.Invalid, "least piece size %s: is above the piece size %s", size(r.MinPieceSize), size(r.PieceSize))
		}
	}
	if r.Export, err = exportPlace(r.Export); err != nil {
		return r, err
	}
	if err := r.checkEncoding(); err != nil {
		return r, err
	}
	if err := r.filter().Check(); err != nil {
		return r, err
	}
	return r, r.checkChunk()
}

// filter is what of the sources is wanted.
func (r Rules) filter() source.Filter {
	return source.Filter{Include: r.Include, Exclude: r.Exclude, SkipHidden: r.NoHidden}
}

// payload is how many bytes of CAR a full piece takes.
func (r Rules) payload() int64 { return int64(commp.MaxRawSize(uint64(r.PieceSize))) }

// chunk returns the least and the most bytes of CAR of a chunk.
func (r Rules) chunk() (least, most int64) {
	least, most = r.ChunkMin, r.ChunkMax
	if most == 0 {
		most = r.payload() / 10 * 9
	}
	if least == 0 {
		least = min(r.payload()/10*6, most)
	}
	return least, most
}

// slack is what a chunk leaves of a piece for the CAR's header.
const slack = 4 << 10

func (r Rules) checkChunk() error {
	least, most := r.chunk()
	if limit := r.payload() - slack; most > limit {
		return fault.New(fault.Invalid, "largest chunk %s: a piece of %s takes %d bytes; leave it out to have 0.9 of that", size(most), size(r.PieceSize), limit)
	}
	if floor := int64(2 << 20); most < floor {
		return fault.New(fault.Invalid, "largest chunk %s: must be at least %s", size(most), size(floor))
	}
	if least < 0 || least > most {
		return fault.New(fault.Invalid, "least chunk %s: must be between 0 and the largest chunk, %s", size(least), size(most))
	}
	return nil
}

func checkPieceSize(what string, n int64) error {
	if n >= MinPieceSize && n <= MaxPieceSize && n&(n-1) == 0 {
		return nil
	}
	lower, upper := near(n)
	if lower == upper {
		return fault.New(fault.Invalid, "%s %s: must be a power of two from %s to %s; the nearest is %s",
			what, size(n), size(MinPieceSize), size(MaxPieceSize), size(lower))
	}
	return fault.New(fault.Invalid, "%s %s: is not a power of two; near are %s and %s", what, size(n), size(lower), size(upper))
}

// near returns the allowed piece sizes below and above n.
func near(n int64) (lower, upper int64) {
	switch {
	case n < MinPieceSize:
		return MinPieceSize, MinPieceSize
	case n > MaxPieceSize:
		return MaxPieceSize, MaxPieceSize
	}
	lower = 1 << (bits.Len64(uint64(n)) - 1)
	return lower, lower << 1
}

// size writes a number of bytes as people give it: "32 GiB" when it is round.
func size(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	u := 0
	for n != 0 && n%1024 == 0 && u < len(units)-1 {
		n /= 1024
		u++
	}
	return fmt.Sprintf("%d %s", n, units[u])
}
