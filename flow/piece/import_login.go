package piece

import (
	"encoding/json"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/fetch"
)

// Seal encrypts what must not be read in the database. Open undoes Seal, and
// refuses what was sealed with another secret.
type Seal interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// SealBy says how the secrets of an URL are kept while its CAR is imported;
// without it such URLs are refused. It is called before anything is opened.
func (s *Service) SealBy(seal Seal) { s.seal = seal }

// takeSecrets seals what opens an URL and leaves the place without: that is what
// is shown, told and written down. Who is apart is given a signature, which opens
// this one thing; of a user and a password it learns nothing.
func (s *Service) takeSecrets(n *NewImport) (sealed []byte, login bool, err error) {
	if !IsURL(n.Place) {
		return nil, false, nil
	}
	plain, secrets, err := fetch.Take(n.Place)
	if err != nil {
		return nil, false, fault.Wrap(err, "import")
	}
	if secrets.None() {
		return nil, false, nil
	}
	if n.Place = plain; s.seal == nil {
		return nil, false, fault.New(fault.Invalid, "import %s: has a password or a signature, and this process keeps none", plain)
	}
	text, err := json.Marshal(secrets)
	if err != nil {
		return nil, false, fault.Mark(fault.Internal, err)
	}
	sealed, err = s.seal.Seal(text)
	return sealed, secrets.User != "", fault.Wrap(err, "encrypt the secrets of %s", plain)
}

// Address is the URL of an import with all that opens it.
func (s *Service) Address(im Import) (string, error) {
	var secrets fetch.Secrets
	if len(im.login) > 0 {
		text, err := s.seal.Open(im.login)
		if err == nil {
			err = json.Unmarshal(text, &secrets)
		}
		if err != nil {
			return "", fault.Wrap(err, "import %s: its secrets", im.Place)
		}
	}
	address, err := secrets.Into(im.Place)
	return address, fault.Wrap(err, "import")
}
