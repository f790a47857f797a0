package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// A piece link's token is "firthp_" expiry "_" mac: the expiry in seconds of
// Unix time, the mac base64url(HMAC-SHA256) over a line of words that keeps the
// secret's other uses apart, the piece CID v2 and the expiry, a line each. It
// opens one piece and nothing else; nothing of it is stored.
const linkPrefix = "firthp_"

// linkLife is how long a link works. A provider pulls a deal's bytes before the
// deal starts, which is days after it was proposed.
const linkLife = 30 * 24 * time.Hour

// Links makes and checks piece links.
type Links struct {
	secret    []byte
	publicURL string
	clock     func() time.Time
}

// NewLinks makes links below publicURL, the URL prefix under which the gateway
// is reached. Gateways check them with the same secret.
func NewLinks(secret []byte, publicURL string, clock func() time.Time) *Links {
	return &Links{secret: secret, publicURL: strings.TrimRight(publicURL, "/"), clock: clock}
}

// PieceURL returns where the bytes of a piece, given by its CID v2, are fetched
// for the next 30 days, and the headers to send along.
func (l *Links) PieceURL(pieceCID string) (url string, headers map[string]string) {
	expiry := strconv.FormatInt(l.clock().Add(linkLife).Unix(), 10)
	token := linkPrefix + expiry + "_" + l.mac(pieceCID, expiry)
	return l.publicURL + "/piece/" + pieceCID, map[string]string{"Authorization": "Bearer " + token}
}

// check returns nil if a request carries a link's token for this piece, in a
// time that tells nothing about how wrong another one is.
func (l *Links) check(token, pieceCID string) error {
	expiry, mac, _ := strings.Cut(strings.TrimPrefix(token, linkPrefix), "_")
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || !hmac.Equal([]byte(mac), []byte(l.mac(pieceCID, expiry))) {
		return fault.New(fault.Forbidden, "the piece link is none of ours for this piece")
	}
	if l.clock().Unix() >= until {
		return fault.New(fault.Forbidden, "the piece link ended %s; the deal has to be proposed again", time.Unix(until, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

func (l *Links) mac(pieceCID, expiry string) string {
	h := hmac.New(sha256.New, l.secret)
	h.Write([]byte("firth piece link\n" + pieceCID + "\n" + expiry))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// shownLink returns the piece link's token a request shows, if it shows one.
func shownLink(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && strings.HasPrefix(token, linkPrefix)
}
