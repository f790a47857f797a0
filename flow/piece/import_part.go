package piece

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Where the blobs of imports under way stand: piece/import-7/000003-2 is part 3,
// made under the claim of epoch 2, and piece/import-7/index-2 an index that was
// handed in under it. A claim that was lost writes where nobody looks.
const importKeys = "piece/import-"

func importKey(id int64) string { return fmt.Sprintf("%s%d", importKeys, id) }
func partKey(id, epoch int64, number int) string {
	return fmt.Sprintf("%s/%06d-%d", importKey(id), number, epoch)
}
func foundKey(id, epoch int64) string { return fmt.Sprintf("%s/index-%d", importKey(id), epoch) }

// importOf is the id in a key, 0 if there is none.
func importOf(key string) int64 {
	rest := strings.TrimSuffix(strings.TrimPrefix(key, importKeys), ".car")
	number, _, _ := strings.Cut(rest, "/")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// epochOf is the epoch in a key, 0 if there is none.
func epochOf(key string) int64 {
	epoch, err := strconv.ParseInt(key[strings.LastIndexByte(key, '-')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}

// keepPart keeps the part of a number for the owner of an import, and with it the
// lease. Part 0 replaces all parts there are.
func (s *Service) keepPart(ctx context.Context, im Import, number int, in io.Reader) error {
	body := bufio.NewReader(io.LimitReader(in, MaxPartBytes+1))
	reaches, err := partReaches(body)
	if err != nil {
		return err
	}
	key := partKey(im.ID, im.Epoch, number)
	info, err := s.blobs.Put(ctx, key, body)
	if err == nil && info.Size > MaxPartBytes {
		err = fault.New(fault.Invalid, "part %d of import %d: more than %d bytes", number, im.ID, MaxPartBytes)
	}
	if err != nil {
		return fault.Wrap(err, "keep part %d of import %d", number, im.ID)
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.now()
		if err := touchImport(ctx, tx, im, now, now.Add(s.settings.Lease)); err != nil {
			return err
		}
		return insertImportPart(ctx, tx, importPartRow{ImportID: im.ID, Number: number, Blob: key, Reaches: reaches, TokenID: im.token})
	})
	if err == nil && number == 0 && im.Epoch > 1 {
		err = s.forget(ctx, im.ID, im.Epoch) // what was before is not gone on from any more
	}
	return err
}

// partReaches is where in the CAR the sections of a part end, as it says.
func partReaches(in *bufio.Reader) (int64, error) {
	b, _ := in.Peek(len(partMagic) + 2*binary.MaxVarintLen64)
	if len(b) < len(partMagic) || string(b[:len(partMagic)]) != partMagic {
		return 0, fault.New(fault.Invalid, "part of an import: does not begin as one")
	}
	b = b[len(partMagic):]
	_, n := binary.Uvarint(b)
	end, m := binary.Uvarint(b[max(n, 0):])
	if n <= 0 || m <= 0 || end > math.MaxInt64 {
		return 0, fault.New(fault.Invalid, "part of an import: its numbers are out of range")
	}
	return int64(end), nil
}

// loadParts has a scan take the parts of an import. One that is not there any
// more, or is none, is fault.Conflict.
func (s *Service) loadParts(ctx context.Context, scan *scan, parts []importPartRow) error {
	for _, p := range parts {
		in, err := s.blobs.Get(ctx, p.Blob, 0, -1)
		if fault.Is(err, fault.NotFound) {
			return fault.Mark(fault.Conflict, err)
		}
		if err != nil {
			return err
		}
		err = scan.load(in)
		_ = in.Close()
		if err != nil {
			return fault.Wrap(err, "part %d", p.Number)
		}
	}
	return nil
}
