package app

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/firth-project/firth/base/fault"
)

// safe encrypts what must not be read in the database, such as the credentials
// of sources: AES-256-GCM with random nonces, by a key of its own (HKDF,
// RFC 5869) made of the node's secret. Nodes that share a database share that.
type safe struct{ aead cipher.AEAD }

// What safes are for: what was put into one does not open in another.
const (
	forSources = "firth: options of sources"
	forDeals   = "firth: requests and headers of deals"
	forImports = "firth: logins of imports"
)

func newSafe(secret []byte, purpose string) (safe, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		return safe{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return safe{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return safe{aead}, err
}

// Seal implements dataset.Seal, deal.Seal and piece.Seal.
func (s safe) Seal(plain []byte) ([]byte, error) { return s.aead.Seal(nil, nil, plain, nil), nil }

// Open implements dataset.Seal, deal.Seal and piece.Seal.
func (s safe) Open(sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, fault.New(fault.Forbidden, "does not open with this node's secret; give it the one it was stored with")
	}
	return plain, nil
}
