package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/pack"
	"github.com/firth-project/firth/flow/piece"
)

// exportPlace checks where CARs are to be exported to: an absolute directory or
// a bucket, whose URL it completes. Whether the bucket can be reached is seen
// when a chunk begins.
func exportPlace(place string) (string, error) {
	switch {
	case place == "":
		return "", nil
	case len(place) > maxURL:
		return "", fault.New(fault.Invalid, "export place %.100q…: has %d bytes, limit %d", place, len(place), maxURL)
	case !piece.InBucket(place) && !filepath.IsAbs(place):
		return "", fault.New(fault.Invalid, "export directory %q: must be an absolute path, or a bucket like s3://bucket/prefix", place)
	case !piece.InBucket(place):
		return place, nil
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(place, "s3:"), "//")
	at, options, some := strings.Cut(rest, "?")
	if strings.Contains(at, "@") {
		return "", fault.New(fault.Invalid, "export bucket: credentials do not belong into its URL; give them to the node with s3.access_key and s3.secret_key")
	}
	if at = strings.TrimRight(at, "/"); at == "" {
		return "", fault.New(fault.Invalid, "export bucket %.100q: want s3://bucket/prefix", place)
	}
	if some {
		at += "?" + options
	}
	return "s3://" + at, nil
}

// exportDir is the directory that packing writes CARs to. On their way to a
// bucket that is a spool in the chunk's working directory: only a whole CAR has
// a name. It takes the disk space of the chunk's pieces until the chunk is over.
func (k *packing) exportDir() string {
	if piece.InBucket(k.p.Rules.Export) {
		return filepath.Join(k.s.chunkDir(k.c), "cars")
	}
	return k.p.Rules.Export
}

// mayExport looks before any work is done whether the bucket can be reached, and
// whether the spool has room for the chunk's CAR.
func (k *packing) mayExport(ctx context.Context) error {
	place := k.p.Rules.Export
	if !piece.InBucket(place) {
		return nil
	}
	if _, err := k.s.pieces.OpenPlace(ctx, place); err != nil {
		return fault.Wrap(err, "export to %s", place)
	}
	spool := k.exportDir()
	if err := makeDir(spool); err != nil {
		return err
	}
	free, known := freeBytes(spool)
	have, err := bytesIn(spool)
	if err != nil {
		return err
	}
	need := min(k.c.Bytes+k.c.Bytes/100+512*k.c.Files+1<<20, k.p.Rules.payload())
	if known && free+have < need {
		return fault.New(fault.Exhausted, "spool %s: a CAR on its way to %s takes about %d bytes here until it is sent, %d are free; make room, or set dataset.work_dir to a larger disk",
			spool, place, need-have, free)
	}
	return nil
}

// bytesIn is what the files of a directory take.
func bytesIn(dir string) (n int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
}

// export sends the CARs of a chunk to the bucket, if that is where they belong.
// After a kill those that are there whole are not sent again.
func (k *packing) export(ctx context.Context, made []pack.Made) error {
	place := k.p.Rules.Export
	if !piece.InBucket(place) {
		return nil
	}
	for i, m := range made {
		open := func() (io.ReadCloser, error) { return os.Open(m.CAR) }
		car, err := k.s.pieces.Export(ctx, place, m.Piece.CIDv2.String(), m.CARSize, open)
		if err != nil {
			return err
		}
		made[i].CAR = car
	}
	return nil
}

// exportIndex writes the CARs of an index beside those of its dataset, so that
// the directory is all that is needed to read the dataset.
func (s *Service) exportIndex(ctx context.Context, p preparationRow, plan piece.Plan) error {
	if p.Rules.Export == "" {
		return nil
	}
	for _, made := range plan.Pieces {
		err := s.exportCAR(ctx, made, p.Rules.Export)
		if err == nil {
			err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
				return s.pieces.Hold(ctx, tx, made.ID, piece.CARIn(p.Rules.Export, made.CID), holderOfIndex(p.ID))
			})
		}
		if err != nil {
			return fault.Wrap(err, "export the index of preparation %d", p.ID)
		}
	}
	return nil
}

// Who wants a CAR: the chunk it is of, or the preparation whose index it is.
func holderOfChunk(id int64) string { return fmt.Sprintf("chunk/%d", id) }
func holderOfIndex(preparation int64) string {
	return fmt.Sprintf("preparation/%d", preparation)
}

// exportCAR writes the CAR of a piece, which is whole or not there.
func (s *Service) exportCAR(ctx context.Context, p piece.Piece, place string) error {
	open := func() (io.ReadCloser, error) { return s.pieces.Open(ctx, p.CID) }
	if piece.InBucket(place) {
		_, err := s.pieces.Export(ctx, place, p.CID, p.CARSize, open)
		return err
	}
	path := piece.CARIn(place, p.CID)
	if info, err := os.Stat(path); err == nil && info.Size() == p.CARSize {
		return nil
	}
	car, err := open()
	if err != nil {
		return err
	}
	defer car.Close()
	if err := makeDir(place); err != nil {
		return err
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return diskFault(err)
	}
	_, err = io.Copy(f, car)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		return errors.Join(diskFault(err), os.Remove(path+".part"))
	}
	d, err := os.Open(place)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeCARs deletes the exported CARs of a preparation that no other one wants.
func (s *Service) removeCARs(ctx context.Context, row preparationRow) error {
	drop := func(car, holder string) error {
		return fault.Wrap(s.pieces.Drop(ctx, car, holder), "remove the CARs of preparation %d", row.ID)
	}
	for c, err := range s.chunks(ctx, row.ID) {
		if err != nil {
			return err
		}
		for _, car := range c.CARs {
			if err := drop(car, holderOfChunk(c.ID)); err != nil {
				return err
			}
		}
	}
	if row.IndexPlan == 0 || row.Rules.Export == "" {
		return nil
	}
	plan, err := s.pieces.Plan(ctx, row.IndexPlan)
	if err != nil {
		return err
	}
	for _, p := range plan.Pieces {
		if err := drop(piece.CARIn(row.Rules.Export, p.CID), holderOfIndex(row.ID)); err != nil {
			return err
		}
	}
	return nil
}
