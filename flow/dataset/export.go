package dataset

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
)

// exportIndex writes the CARs of an index beside those of its dataset, so that
// the directory is all that is needed to read the dataset.
func (s *Service) exportIndex(ctx context.Context, p preparationRow, plan piece.Plan) error {
	if p.Rules.Export == "" {
		return nil
	}
	for _, made := range plan.Pieces {
		if err := s.exportCAR(ctx, made, p.Rules.Export); err != nil {
			return fault.Wrap(err, "export the index of preparation %d", p.ID)
		}
	}
	return nil
}

// carPath is where a piece is exported to.
func carPath(dir string, p piece.Piece) string { return filepath.Join(dir, p.CID+".car") }

// exportCAR writes the CAR of a piece, which is whole or not there.
func (s *Service) exportCAR(ctx context.Context, p piece.Piece, dir string) error {
	path := carPath(dir, p)
	if info, err := os.Stat(path); err == nil && info.Size() == p.CARSize {
		return nil
	}
	car, err := s.pieces.Open(ctx, p.CID)
	if err != nil {
		return err
	}
	defer car.Close()
	if err := makeDir(dir); err != nil {
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
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeCARs deletes the exported CARs of a preparation.
func (s *Service) removeCARs(ctx context.Context, row preparationRow) error {
	var cars []string
	for c, err := range s.chunks(ctx, row.ID) {
		if err != nil {
			return err
		}
		cars = append(cars, c.CARs...)
	}
	if row.IndexPlan != 0 && row.Rules.Export != "" {
		plan, err := s.pieces.Plan(ctx, row.IndexPlan)
		if err != nil {
			return err
		}
		for _, p := range plan.Pieces {
			cars = append(cars, carPath(row.Rules.Export, p))
		}
	}
	for _, car := range cars {
		if err := os.Remove(car); err != nil && !os.IsNotExist(err) {
			return fault.Wrap(err, "remove the CARs of preparation %d", row.ID)
		}
	}
	return nil
}
