package dataset

import (
	"context"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Files searches the files of a preparation and returns up to limit records (0
// is 50, at most 1000) with the cursor of the next page, "" when there is none.
// Of one that is not complete it searches the chunks found so far. A search
// looks at a bounded number of records a call, so that a page may be short, or
// empty, and have a cursor all the same.
func (s *Service) Files(ctx context.Context, project, preparation int64, q Query, cursor string, limit int) ([]Record, string, error) {
	row, err := preparationByID(ctx, s.db.Read(), project, preparation)
	if err != nil {
		return nil, "", err
	}
	if row.State == Complete {
		return s.filesComplete(ctx, row, q, cursor, limit)
	}
	ordinal, rest := int64(0), ""
	if cursor != "" {
		number, after, ok := strings.Cut(cursor, " ")
		if ordinal, err = strconv.ParseInt(number, 10, 64); !ok || err != nil {
			return nil, "", fault.New(fault.Invalid, "cursor %.80q: is not one of this search", cursor)
		}
		rest = after
	}
	page, err := chunksAfter(ctx, s.db.Read(), preparation, ordinal, 2)
	if err != nil || len(page) == 0 {
		return nil, "", err
	}
	found, next, err := s.filesOf(ctx, page[0], q, rest, limit)
	switch {
	case err != nil:
		return nil, "", err
	case next != "":
		return found, strconv.FormatInt(ordinal, 10) + " " + next, nil
	case len(page) > 1:
		return found, strconv.FormatInt(page[0].Ordinal, 10) + " ", nil
	}
	return found, "", nil
}

// Counts returns what is in a complete preparation, and what was skipped.
func (s *Service) Counts(ctx context.Context, project, preparation int64) (Counts, error) {
	row, err := preparationByID(ctx, s.db.Read(), project, preparation)
	if err != nil {
		return Counts{}, err
	}
	if row.State != Complete {
		return Counts{}, fault.New(fault.Conflict, "preparation %d: is %s, not complete", row.ID, row.State)
	}
	paths, done, err := s.catalogOf(ctx, row.ID)
	if err != nil {
		return Counts{}, err
	}
	defer done()
	return paths.Counts(), nil
}

func (s *Service) filesComplete(ctx context.Context, row preparationRow, q Query, cursor string, limit int) ([]Record, string, error) {
	paths, done, err := s.catalogOf(ctx, row.ID)
	if err != nil {
		return nil, "", err
	}
	defer done()
	names, doneNames, err := s.openCatalog(ctx, blobKey(row.ID, namesBlob))
	if err != nil {
		return nil, "", err
	}
	defer doneNames()
	return Find(paths, names, q, cursor, int(pageLimit(limit)))
}

// ChunkFiles returns a page of what a chunk holds, in path order, as Files
// does; a file that was cut has the part that is here.
func (s *Service) ChunkFiles(ctx context.Context, project, chunk int64, q Query, cursor string, limit int) ([]Record, string, error) {
	c, err := chunkByID(ctx, s.db.Read(), project, chunk)
	if err != nil {
		return nil, "", err
	}
	return s.filesOf(ctx, c, q, cursor, limit)
}

func (s *Service) filesOf(ctx context.Context, c chunkRow, q Query, cursor string, limit int) ([]Record, string, error) {
	key := c.Outcome
	if key == "" {
		key = c.List
	}
	list, done, err := s.openCatalog(ctx, key)
	if err != nil {
		return nil, "", err
	}
	defer done()
	return Find(list, nil, q, cursor, int(pageLimit(limit)))
}
