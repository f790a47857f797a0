package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/indexdag"
	"github.com/firth-project/firth/front"
)

// Names gives the signed records of names that this node publishes;
// dataset.Service does. A name is k51…, one that has no record is NotFound.
type Names interface {
	Record(ctx context.Context, name string) ([]byte, error)
}

// serveRecord answers a name by its IPNS record (specs.ipfs.tech: trustless
// gateway). A record is signed, and made to be handed on: nobody needs a token.
func (d *door) serveRecord(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "a record can only be read", http.StatusMethodNotAllowed)
		return
	}
	record, is, name, err := d.record(r)
	if err != nil {
		front.WriteProblem(w, r, err)
		return
	}
	keep := max(0, min(is.Cache, is.Expires.Sub(d.clock())))
	h := w.Header()
	h.Set("Content-Type", indexdag.RecordType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+".ipns-record"))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(keep.Seconds())))
	h.Set("Expires", is.Expires.UTC().Format(http.TimeFormat))
	h.Add("Vary", "Accept")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(record)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(record))
}

// record returns the record that a request is about, checked as its reader will.
func (d *door) record(r *http.Request) (record []byte, is indexdag.Record, name string, err error) {
	asked, below, _ := strings.Cut(r.PathValue("name"), "/")
	if strings.Contains(asked, ".") {
		return nil, is, "", fault.New(fault.NotFound, "/ipns/%.200s: this node resolves no domains; look the DNSLink up and ask for what it names", asked)
	}
	if name, err = indexdag.ParseName(asked); err != nil {
		return nil, is, "", err
	}
	if record, err = d.names.Record(r.Context(), name); err != nil {
		return nil, is, "", err
	}
	if below != "" || !wantsRecord(r) {
		return nil, is, "", fault.New(fault.Invalid, "/ipns/%s: names are answered with their records; ask for ?format=ipns-record, "+
			"or get a file by `firth get %s/PATH -o DIR --from URL`", name, name)
	}
	if is, err = indexdag.VerifyRecord(name, record); err != nil {
		return nil, is, "", fault.New(fault.Unavailable, "the record is about to be signed again: %w", err)
	}
	return record, is, name, nil
}

// wantsRecord reports whether a request asks for a record: by its query, or else
// by what it accepts.
func wantsRecord(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "ipns-record"
	}
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == indexdag.RecordType {
				return true
			}
		}
	}
	return false
}
