package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// linkPrefix starts the secret of a piece link.
const linkPrefix = "firthp_"

// linkLife is how long a link opens its piece: longer than any provider should
// take to fetch it.
const linkLife = 30 * 24 * time.Hour

// Links makes the links by which providers fetch pieces from a closed node.
type Links struct {
	secret []byte
	base   string
	clock  func() time.Time
}

// NewLinks makes links under publicURL, signed with the node's secret.
func NewLinks(secret []byte, publicURL string, clock func() time.Time) *Links {
	return &Links{secret: secret, base: strings.TrimRight(publicURL, "/"), clock: clock}
}

// PieceURL returns where the CAR of a piece (CID v2) is fetched and the headers
// to send along.
func (l *Links) PieceURL(pieceCID string) (url string, headers map[string]string) {
	expiry := l.clock().Add(linkLife).Unix()
	return l.base + "/piece/" + pieceCID, map[string]string{
		"Authorization": "Bearer " + linkPrefix + strconv.FormatInt(expiry, 10) + "_" + sign(l.secret, pieceCID, expiry),
	}
}

// sign binds a piece to a time. The words in front keep the secret's other uses
// apart.
func sign(secret []byte, pieceCID string, expiry int64) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("firth piece link\n" + pieceCID + "\n" + strconv.FormatInt(expiry, 10)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkLink says whether the Authorization header is a link to the piece, in a
// time that tells nothing about how wrong it is.
func checkLink(secret []byte, authorization, pieceCID string, now time.Time) error {
	link, ok := strings.CutPrefix(authorization, "Bearer "+linkPrefix)
	if !ok {
		return fault.New(fault.Forbidden, "piece %s: is not public; send a token with content:read, or the header of its link", pieceCID)
	}
	text, mac, _ := strings.Cut(link, "_")
	expiry, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !hmac.Equal([]byte(mac), []byte(sign(secret, pieceCID, expiry))) {
		return fault.New(fault.Forbidden, "piece %s: the link is not one of ours for this piece", pieceCID)
	}
	if now.Unix() >= expiry {
		return fault.New(fault.Forbidden, "piece %s: the link ended %s", pieceCID, time.Unix(expiry, 0).UTC().Format(time.RFC3339))
	}
	return nil
}
