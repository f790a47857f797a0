package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/piece"
	"github.com/firth-project/firth/front"
)

// maxRanges is how many ranges of one request are honoured. Each reads a whole
// block, so a header full of them would cost far more than it asks for; RFC
// 9110 allows to ignore it.
const maxRanges = 16

// servePiece streams the CAR of a piece, given by its CID of either version
// with or without ".car": HEAD, GET, ranges, conditions. Its entity tag is the
// piece CID v2.
func (d *door) servePiece(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "a piece can only be read", http.StatusMethodNotAllowed)
		return
	}
	p, err := d.find(r)
	if err != nil {
		front.WriteProblem(w, r, err)
		return
	}
	car, err := d.open(r, p)
	if err != nil {
		front.WriteProblem(w, r, err)
		return
	}
	defer car.Close()
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		r.Header.Del("Range")
	}
	h := w.Header()
	h.Set("ETag", `"`+p.CID+`"`)
	h.Set("Content-Type", "application/vnd.ipld.car")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", p.CID+".car"))
	h.Set("Cache-Control", "public, max-age=29030400, immutable")
	source := &stream{ReadSeeker: car, ctx: r.Context(), limit: d.limits.of(r)}
	out := &answer{ResponseWriter: w, source: source, head: r.Method == http.MethodHead}
	http.ServeContent(out, r, "", time.Time{}, source)
	out.end(r, d, p.CID)
}

// find returns the piece a request is about if the request may read it. To
// those who may not, every piece looks the same, there or not.
func (d *door) find(r *http.Request) (piece.Piece, error) {
	may := d.allowed(r.Context())
	token, shown := shownLink(r)
	if may != nil && !shown {
		return piece.Piece{}, may
	}
	p, err := d.pieces.Find(r.Context(), strings.TrimSuffix(r.PathValue("ref"), ".car"))
	if may == nil {
		return p, err
	}
	if err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
		return piece.Piece{}, err
	}
	return p, d.links.check(token, p.CID)
}

// open opens the CAR: the file that is kept of it, else the view of its blocks.
func (d *door) open(r *http.Request, p piece.Piece) (io.ReadSeekCloser, error) {
	if f, ok := d.pieces.OpenCached(p); ok {
		return f, nil
	}
	if car, ok := d.pieces.OpenStored(r.Context(), p); ok {
		return car, nil
	}
	return d.pieces.Open(r.Context(), p.CID)
}
