package commp

import (
	"errors"
	"fmt"
	"math/bits"
)

// Sizes are bytes. "Raw" counts the bytes of the data, "padded" counts them
// after Fr32 expansion (127 raw bytes become 128) and rounding up to a power
// of two, which is how the chain counts.
const (
	// MinPaddedSize is the smallest piece: 127 raw bytes.
	MinPaddedSize = 128
	// MaxPaddedSize is the largest piece this package takes (32 PiB).
	MaxPaddedSize = nodeSize << maxHeight
	// SlotRaw is the raw size of one slot of a Tree.
	SlotRaw = slotQuads * quadRaw // 130048
	// SlotPadded is the padded size of one slot of a Tree: 128 KiB.
	SlotPadded = slotQuads * quadPadded
)

const (
	nodeSize   = 32  // bytes of a node of the tree
	quadRaw    = 127 // raw bytes that Fr32 expands to four nodes
	quadPadded = 128
	quadHeight = 2  // height above the leaves of the node over one quad
	slotHeight = 12 // height of the root of a slot
	slotQuads  = 1 << (slotHeight - quadHeight)
	maxHeight  = 50
)

// The errors of this package; errors.Is tells them apart.
var (
	// ErrInput says that an argument or an encoding can never be right.
	ErrInput = errors.New("commp: invalid input")
	// ErrMissing says that slots of a Tree have not been set yet.
	ErrMissing = errors.New("commp: slots are missing")
	// ErrMismatch says that bytes are not what a proof or a piece says they are.
	ErrMismatch = errors.New("commp: bytes are not in the piece")
)

func inputError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInput, fmt.Sprintf(format, args...))
}

func missingError(missing, slots int) error {
	return fmt.Errorf("%w: %d of %d", ErrMissing, missing, slots)
}

// PaddedSize returns the size of the smallest piece that holds raw bytes: a
// power of two, at least MinPaddedSize. It is 0 when no piece is large enough.
func PaddedSize(raw uint64) uint64 {
	if raw > MaxRawSize(MaxPaddedSize) {
		return 0
	}
	return nodeSize << heightOf(raw)
}

// MaxRawSize returns how many raw bytes a piece of a padded size holds.
func MaxRawSize(padded uint64) uint64 { return padded / quadPadded * quadRaw }

// heightOf returns the height of the tree over raw bytes: log2 of its leaves.
func heightOf(raw uint64) int {
	quads := max((raw+quadRaw-1)/quadRaw, 1)
	return quadHeight + bits.Len64(quads-1)
}

// heightOfPadded checks a wanted padded size against the raw bytes it must hold.
func heightOfPadded(padded, raw uint64) (int, error) {
	switch {
	case padded < MinPaddedSize || padded > MaxPaddedSize || padded&(padded-1) != 0:
		return 0, inputError("padded size %d: want a power of two from %d to %d", padded, MinPaddedSize, uint64(MaxPaddedSize))
	case raw > MaxRawSize(padded):
		return 0, inputError("padded size %d holds %d raw bytes, data has %d", padded, MaxRawSize(padded), raw)
	}
	return bits.TrailingZeros64(padded / nodeSize), nil
}
