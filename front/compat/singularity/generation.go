package singularity

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
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

// generationHead and generationTail are what GET /generation/{id} answers before
// and after its fileList.
type generationHead struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Path  string `json:"path"`
	Index int64  `json:"index"`
}

type generationTail struct {
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
	list := &fileList{
		root: whole.Path,
		head: generationHead{one.ID, whole.Name, whole.Path, one.Index},
		tail: generationTail{one.WorkerID, one.Status, one.DataCID, one.PieceCID, one.PieceSize},
		next: func(after string) ([]dataset.Record, string, error) {
			return d.data.ChunkFiles(ctx, g.Project, c.ID, dataset.Query{}, after, 1000)
		},
	}
	// A chunk whose files cannot be read is told with a status of its own.
	list.page, list.after, err = list.next("")
	return list, err
}

// fileList is a generation whose files, which may be millions, are told as they
// are read: this door has no pages.
type fileList struct {
	root  string
	head  generationHead
	tail  generationTail
	page  []dataset.Record
	after string // of the page after; "" is none
	next  func(after string) ([]dataset.Record, string, error)
}

// writeTo writes the answer. Where it ends with an error, what was written is
// no whole JSON.
func (l *fileList) writeTo(w io.Writer) error {
	head, err := json.Marshal(l.head)
	if err != nil {
		return err
	}
	tail, err := json.Marshal(l.tail)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, `%s,"fileList":[`, head[:len(head)-1])
	for between := ""; ; {
		for _, r := range l.page {
			if r.Kind == dataset.KindDirectory {
				continue
			}
			text, err := json.Marshal(fileOf(r, l.root))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(out, "%s%s", between, text); err != nil {
				return err
			}
			between = ","
		}
		if l.after == "" {
			break
		}
		if l.page, l.after, err = l.next(l.after); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "],%s\n", tail[1:])
	return out.Flush()
}

// fileOf is a file below the root of a source, which may be a URL.
func fileOf(r dataset.Record, root string) file {
	name := strings.ToValidUTF8(r.Path, string(utf8.RuneError))
	f := file{Path: strings.TrimSuffix(root, "/") + "/" + name, Name: path.Base(name), Size: r.Size}
	if len(r.Parts) == 1 && (r.Parts[0].Offset > 0 || r.Parts[0].Length < r.Size) {
		f.Start, f.End = r.Parts[0].Offset, r.Parts[0].Offset+r.Parts[0].Length
	}
	return f
}
