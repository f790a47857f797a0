package singularity

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
	"github.com/firth-project/firth/flow/dataset"
)

// file is one entry of a generation's list. Start and End are both 0 for a
// whole file.
type file struct {
	Path  string `json:"path"`
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

// generationDetail is what GET /generation/{id} answers.
type generationDetail struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Path      string `json:"path"`
	Index     int64  `json:"index"`
	Files     []file `json:"fileList"`
	WorkerID  string `json:"workerId"`
	State     string `json:"state"`
	DataCID   string `json:"dataCid"`
	PieceCID  string `json:"pieceCid"`
	PieceSize int64  `json:"pieceSize"`
}

func (d *door) generation(g account.Grant, r *http.Request) (any, error) {
	ctx := r.Context()
	n, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, fault.New(fault.NotFound, "generation %.40q: there is none", r.PathValue("id"))
	}
	c, err := d.data.Chunk(ctx, g.Project, n)
	if err != nil {
		return nil, err
	}
	p, err := d.data.Preparation(ctx, g.Project, c.Preparation)
	if err != nil {
		return nil, err
	}
	set, err := d.data.Get(ctx, g.Project, id(p.Dataset))
	if err != nil {
		return nil, err
	}
	whole, err := d.request(ctx, set)
	if err != nil {
		return nil, err
	}
	one, err := d.chunk(ctx, c)
	if err != nil {
		return nil, err
	}
	files, err := d.files(ctx, g, c, whole.Path)
	return generationDetail{
		one.ID, whole.Name, whole.Path, one.Index, files, one.WorkerID, one.Status, one.DataCID, one.PieceCID, one.PieceSize,
	}, err
}

// maxFiles is how many entries of a chunk are told: this door has no pages.
const maxFiles = 100_000

func (d *door) files(ctx context.Context, g account.Grant, c dataset.Chunk, root string) ([]file, error) {
	all, cursor := []file{}, ""
	for {
		page, next, err := d.data.ChunkFiles(ctx, g.Project, c.ID, dataset.Query{}, cursor, 1000)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			if r.Kind != dataset.KindDirectory {
				all = append(all, fileOf(r, root))
			}
		}
		if next == "" {
			return all, nil
		}
		if cursor = next; len(all) > maxFiles {
			return nil, errTooMany
		}
	}
}

var errTooMany = fault.Mark(fault.Exhausted, errors.New("this chunk has more files than this route tells; ask /v1/datasets/{ref}/files?chunk="))

// fileOf is a file below the root of a source, which may be a URL.
func fileOf(r dataset.Record, root string) file {
	name := strings.ToValidUTF8(r.Path, string(utf8.RuneError))
	f := file{Path: strings.TrimSuffix(root, "/") + "/" + name, Name: path.Base(name), Size: r.Size}
	if len(r.Parts) == 1 && (r.Parts[0].Offset > 0 || r.Parts[0].Length < r.Size) {
		f.Start, f.End = r.Parts[0].Offset, r.Parts[0].Offset+r.Parts[0].Length
	}
	return f
}
