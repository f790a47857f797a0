package account

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/fault"
)

// Service is the only way to projects and tokens.
type Service struct {
	db     *db.DB
	clock  func() time.Time
	random io.Reader
}

// New makes the service. Secrets are drawn from random.
func New(d *db.DB, clock func() time.Time, random io.Reader) *Service {
	return &Service{db: d, clock: clock, random: random}
}

// Bootstrap makes the default project and its admin token if the database has
// no project yet, and returns the token's secret, which exists nowhere else.
// Of several processes that start at once, one creates; created is false in
// the others. keep, which may be nil, is given the secret before the token is
// made: it has to be somewhere safe by then, for a process may die at any time,
// and an error of keep makes nothing.
func (s *Service) Bootstrap(ctx context.Context, keep func(secret string) error) (secret string, created bool, err error) {
	secret, err = newSecret(s.random)
	if err != nil {
		return "", false, err
	}
	now := db.Now(s.clock())
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		created, err = insertDefaultProject(ctx, tx, now)
		if err != nil || !created {
			return err
		}
		_, err = insertToken(ctx, tx, Token{
			Project: DefaultProject, Name: "admin", Prefix: prefix(secret), Scopes: []Scope{Admin}, CreatedAt: now,
		}, hash(secret))
		if err != nil || keep == nil {
			return err
		}
		return keep(secret)
	})
	if err != nil || !created {
		return "", false, fault.Wrap(err, "make the default project")
	}
	return secret, true, nil
}

// Authenticate returns what the secret allows. Every refusal is Forbidden and
// says no more than that the token is unknown, expired or revoked.
func (s *Service) Authenticate(ctx context.Context, secret string) (Grant, error) {
	if !strings.HasPrefix(secret, SecretPrefix) {
		return Grant{}, fault.New(fault.Forbidden, "token: not one of ours, ours start with %q", SecretPrefix)
	}
	t, err := tokenByHash(ctx, s.db.Read(), hash(secret))
	if fault.Is(err, fault.NotFound) {
		return Grant{}, fault.New(fault.Forbidden, "token %s…: unknown; make one with `firth token new`", safePrefix(secret))
	}
	if err != nil {
		return Grant{}, err
	}
	now := db.Now(s.clock())
	switch {
	case t.RevokedAt != nil:
		return Grant{}, fault.New(fault.Forbidden, "token %s…: revoked %s", t.Prefix, t.RevokedAt.Format(time.RFC3339))
	case t.ExpiresAt != nil && !t.ExpiresAt.After(now):
		return Grant{}, fault.New(fault.Forbidden, "token %s…: expired %s", t.Prefix, t.ExpiresAt.Format(time.RFC3339))
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) >= time.Minute {
		if err := s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error { return touchToken(ctx, tx, t.ID, now) }); err != nil {
			return Grant{}, err
		}
	}
	return Grant{Project: t.Project, Token: t.ID, Scopes: t.Scopes}, nil
}

// CreateToken makes a token and returns its secret, which is shown this once.
func (s *Service) CreateToken(ctx context.Context, project int64, name string, scopes []Scope, expires *time.Time) (Token, string, error) {
	now := db.Now(s.clock())
	if err := validate(name, scopes, expires, now); err != nil {
		return Token{}, "", err
	}
	secret, err := newSecret(s.random)
	if err != nil {
		return Token{}, "", err
	}
	t := Token{Project: project, Name: name, Prefix: prefix(secret), Scopes: scopes, ExpiresAt: expires, CreatedAt: now}
	err = s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		t.ID, err = insertToken(ctx, tx, t, hash(secret))
		return err
	})
	if err != nil {
		return Token{}, "", fault.Wrap(err, "create token %q", name)
	}
	return t, secret, nil
}

// Tokens lists a project's tokens, newest first, revoked ones included.
func (s *Service) Tokens(ctx context.Context, project int64) ([]Token, error) {
	return tokensOf(ctx, s.db.Read(), project)
}

// RevokeToken ends a token for good, with effect on the next request. Revoking
// twice is no error; a token of another project is NotFound.
func (s *Service) RevokeToken(ctx context.Context, project, id int64) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx *db.Tx) error {
		return revokeToken(ctx, tx, project, id, db.Now(s.clock()))
	})
}

// safePrefix shows enough of an unknown secret to recognise it.
func safePrefix(secret string) string { return secret[:min(len(secret), len(SecretPrefix)+6)] }
