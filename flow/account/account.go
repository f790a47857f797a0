package account

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// DefaultProject is the id of the project made at the first start.
const DefaultProject int64 = 1

// SecretPrefix starts every token secret, so that leaked ones can be found by
// scanners and told apart from other services' keys.
const SecretPrefix = "firth_"

// secretBytes of randomness make a secret that no one guesses; a fast hash is
// then the right one to store.
const secretBytes = 32

// maxName bounds the name of a token, in bytes.
const maxName = 200

// Scope is one thing a token may do.
type Scope string

// The scopes. Admin implies all others and is needed to manage tokens, jobs,
// nodes and the provider index.
const (
	ReadContent  Scope = "content:read"
	WriteContent Scope = "content:write"
	ReadDeal     Scope = "deal:read"
	WriteDeal    Scope = "deal:write"
	CommP        Scope = "commp" // to compute commitments for the node, and to read the CARs for that
	Admin        Scope = "admin"
)

// Scopes lists every scope there is.
func Scopes() []Scope { return []Scope{ReadContent, WriteContent, ReadDeal, WriteDeal, CommP, Admin} }

// Project is the owner of everything.
type Project struct {
	ID        int64
	Name      string
	CreatedAt time.Time
}

// Token is a credential of a project. Its secret is not in it.
type Token struct {
	ID         int64
	Project    int64
	Name       string
	Prefix     string // the first characters of the secret, enough to recognise it
	Scopes     []Scope
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
	LastUsedAt *time.Time // to the minute
	CreatedAt  time.Time
}

// Grant is what a presented secret turned out to allow.
type Grant struct {
	Project int64
	Token   int64
	Scopes  []Scope
}

// Allows reports whether the grant covers the scope.
func (g Grant) Allows(s Scope) bool {
	return slices.Contains(g.Scopes, s) || slices.Contains(g.Scopes, Admin)
}

// validate checks what a caller asks of a new token.
func validate(name string, scopes []Scope, expires *time.Time, now time.Time) error {
	if strings.TrimSpace(name) == "" || len(name) > maxName {
		return fault.New(fault.Invalid, "token name: must have 1 to %d bytes, has %d", maxName, len(name))
	}
	if len(scopes) == 0 {
		return fault.New(fault.Invalid, "token %q: needs at least one scope of %v", name, Scopes())
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fault.New(fault.Invalid, "token %q: unknown scope %q, known are %v", name, s, Scopes())
		}
	}
	if expires != nil && !expires.After(now) {
		return fault.New(fault.Invalid, "token %q: expires %s, which is past; give a later time", name, expires.Format(time.RFC3339))
	}
	return nil
}

// newSecret draws a secret from random.
func newSecret(random io.Reader) (string, error) {
	var raw [secretBytes]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", fmt.Errorf("draw a token secret: %w", err)
	}
	return SecretPrefix + base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// hash is what of a secret is stored.
func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// prefix is what of a secret is shown later.
func prefix(secret string) string { return secret[:len(SecretPrefix)+6] }
