package piece

import (
	"net/url"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
)

// Seal encrypts what must not be read in the database. Open undoes Seal, and
// refuses what was sealed with another secret.
type Seal interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// SealBy says how user and password of an URL are kept while its CAR is imported;
// without it such URLs are refused. It is called before anything is opened.
func (s *Service) SealBy(seal Seal) { s.seal = seal }

// takeLogin seals user and password of an URL and leaves the place without: that
// is what is shown, told and written down.
func (s *Service) takeLogin(n *NewImport) (login []byte, err error) {
	if !IsURL(n.Place) {
		return nil, nil
	}
	u, err := url.Parse(n.Place)
	switch {
	case err != nil: // and tells all of the place, a password too
		return nil, fault.New(fault.Invalid, "import %.200q: is no address as RFC 3986 has them", fetch.Shown(n.Place))
	case u.User == nil:
		return nil, nil
	}
	if s.seal == nil {
		return nil, fault.New(fault.Invalid, "import %s: names a user, and this process keeps no passwords", u.Redacted())
	}
	if login, err = s.seal.Seal([]byte(u.User.String())); err != nil {
		return nil, fault.Wrap(err, "encrypt the login of %s", u.Redacted())
	}
	u.User = nil
	n.Place = u.String()
	return login, nil
}

// address is the URL of an import with its user and password.
func (s *Service) address(im Import) (string, error) {
	if len(im.login) == 0 {
		return im.Place, nil
	}
	login, err := s.seal.Open(im.login)
	if err != nil {
		return "", fault.Wrap(err, "import %s: its login", im.Place)
	}
	user, err := url.Parse("//" + string(login) + "@")
	if err != nil {
		return "", fault.New(fault.Internal, "import %s: its login is none", im.Place)
	}
	u, err := url.Parse(im.Place)
	if err != nil {
		return "", fault.Mark(fault.Internal, err)
	}
	u.User = user.User
	return u.String(), nil
}
