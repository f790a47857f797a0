package app

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/flow/deal"
)

// links are where providers fetch pieces: from this node, or from where
// piece.url_template says that the operator keeps them.
func links(cfg Config, own deal.Links) deal.Links {
	if cfg.Piece.URLTemplate == "" {
		return own
	}
	return elsewhere(cfg.Piece.URLTemplate)
}

// elsewhere is a template of URLs. No header goes there: a link's token is not
// for other servers.
type elsewhere string

// PieceURL implements deal.Links.
func (t elsewhere) PieceURL(pieceCID string) (string, map[string]string) {
	text := strings.ReplaceAll(string(t), "{piece_cid}", pieceCID)
	c, err := cid.Decode(pieceCID)
	if err != nil {
		return text, nil
	}
	if v1, _, err := commp.CIDv1(c); err == nil {
		text = strings.ReplaceAll(text, "{piece_cid_v1}", v1.String())
	}
	return text, nil
}

// checkTemplate refuses templates under which pieces could not be told apart.
func checkTemplate(text string) error {
	if text == "" {
		return nil
	}
	filled := strings.NewReplacer("{piece_cid}", "x", "{piece_cid_v1}", "x").Replace(text)
	u, err := url.Parse(filled)
	switch {
	case filled == text:
		return errors.New("has neither {piece_cid} nor {piece_cid_v1} in it")
	case strings.ContainsAny(filled, "{}"):
		return fmt.Errorf("%q has another word in braces than piece_cid and piece_cid_v1", text)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q is no http(s) URL", text)
	}
	return nil
}
