package app

import (
	"testing"

	"github.com/firth-project/firth/base/commp"
)

func TestURLTemplate(t *testing.T) {
	p, err := commp.New().Sum()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Default()
	cfg.Piece.URLTemplate = "https://cdn.example/{piece_cid_v1}/{piece_cid}.car?v={piece_cid}"
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	url, headers := links(cfg, nil).PieceURL(p.CIDv2.String())
	if want := "https://cdn.example/" + p.CIDv1.String() + "/" + p.CIDv2.String() + ".car?v=" + p.CIDv2.String(); url != want || len(headers) != 0 {
		t.Errorf("%s, headers %v", url, headers)
	}
	for _, bad := range []string{"https://cdn.example/", "https://cdn.example/{cid}/{piece_cid}", "cdn.example/{piece_cid}", "ftp://x/{piece_cid}"} {
		cfg.Piece.URLTemplate = bad
		if cfg.validate() == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
