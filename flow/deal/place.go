package deal

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// place is where a provider fetches a piece.
type place struct {
	url     string
	headers map[string]string
	outside bool // not this node
}

// outside is where a policy has a piece fetched instead of from this node: by
// its own template, or the node's. "" is nowhere.
func (s *Service) outside(p Policy, t target) string {
	template := p.URLTemplate
	if template == "" {
		template = s.settings.URLTemplate
	}
	return Template(template).URL(t.PieceCID, t.PieceCIDv1)
}

// place says where a provider fetches a piece. Headers go with the policy's own
// template only: a link's token, or another policy's, is not for other servers.
func (s *Service) place(p Policy, t target) (place, error) {
	if url := s.outside(p, t); url != "" {
		headers, err := s.unlock(p)
		return place{url: url, headers: headers, outside: true}, err
	}
	url, headers := s.links.PieceURL(t.PieceCID)
	return place{url: url, headers: headers}, nil
}

// httpAnswer finds the status in what providers say of a fetch.
var httpAnswer = regexp.MustCompile(`(?i)http.*\b(?:code|status)(?: code)?:? [345]\d\d\b`)

// fetchFailed reads a provider's words about a deal that ended: whether it did
// not get, from where it was told to fetch, what the deal is about, and whether
// that may be its own doing. The words are Boost's; others have a status alike.
func fetchFailed(words string) (failed, own bool) {
	low := strings.ToLower(words)
	switch {
	case strings.Contains(low, "commp mismatch"):
		return true, true
	case strings.Contains(low, "data-transfer failed"), strings.Contains(low, "deal size mismatch"), httpAnswer.MatchString(low):
		return true, false
	}
	return false, false
}

// outsideFault is a deal's ending with the place named where the piece could
// not be had, and that place. Of another server this node knows nothing, so a
// provider is not blamed for what it did not get there.
func outsideFault(d Deal, e ending) (ending, string) {
	if !d.Outside || e.state != Failed || e.source != FromProvider {
		return e, ""
	}
	failed, own := fetchFailed(e.reason)
	if !failed {
		return e, ""
	}
	e.reason = fmt.Sprintf("the piece was not to be had from %s: %s; see to it that it is there and the policy's http_headers open it", d.URL, e.reason)
	e.blame = e.blame && own
	return e, d.URL
}

// sealRequest has a proposal kept so that its headers, and the token of a link,
// cannot be read in the database.
func (s *Service) sealRequest(d *Deal, request []byte) (err error) {
	d.request, err = s.seal.Seal(request)
	d.sealed = true
	return fault.Wrap(err, "encrypt proposal")
}

// openRequest returns the bytes that are sent.
func (s *Service) openRequest(d Deal) ([]byte, error) {
	if !d.sealed {
		return d.request, nil
	}
	return s.seal.Open(d.request)
}
