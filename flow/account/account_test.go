package account_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firth-project/firth/base/db"
	"github.com/firth-project/firth/base/db/dbtest"
	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/flow/account"
)

// clock is a time that only moves when told.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// each runs a test on every engine over a fresh service.
func each(t *testing.T, fn func(t *testing.T, s *account.Service, d *db.DB, c *clock)) {
	dbtest.Each(t, func(t *testing.T, open dbtest.Open) {
		c := &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
		d := open(t, account.Migrations())
		fn(t, account.New(d, c.Now, rand.Reader), d, c)
	})
}

func TestBootstrapOnceForSeveralProcesses(t *testing.T) {
	each(t, func(t *testing.T, s *account.Service, _ *db.DB, _ *clock) {
		ctx := context.Background()
		secrets := make([]string, 8)
		var wg sync.WaitGroup
		for i := range secrets {
			wg.Go(func() {
				secret, created, err := s.Bootstrap(ctx, nil)
				if err != nil {
					t.Errorf("bootstrap: %v", err)
				}
				if created != (secret != "") {
					t.Errorf("created %v with secret %q", created, secret)
				}
				secrets[i] = secret
			})
		}
		wg.Wait()
		if made := strings.Join(secrets, ""); strings.Count(made, account.SecretPrefix) != 1 {
			t.Fatalf("%d admin tokens, want 1", strings.Count(made, account.SecretPrefix))
		}
		grant, err := s.Authenticate(ctx, strings.Join(secrets, ""))
		if err != nil || grant.Project != account.DefaultProject || !grant.Allows(account.WriteDeal) {
			t.Errorf("grant %+v, %v; want all of the default project", grant, err)
		}
	})
}

func TestTokenLife(t *testing.T) {
	each(t, func(t *testing.T, s *account.Service, d *db.DB, c *clock) {
		ctx := context.Background()
		if _, _, err := s.Bootstrap(ctx, nil); err != nil {
			t.Fatal(err)
		}
		expires := c.now.Add(time.Hour)
		token, secret, err := s.CreateToken(ctx, account.DefaultProject, "ci", []account.Scope{account.ReadContent}, &expires)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := s.Authenticate(ctx, secret)
		if err != nil || grant.Token != token.ID || !grant.Allows(account.ReadContent) || grant.Allows(account.WriteContent) {
			t.Fatalf("grant %+v, %v", grant, err)
		}
		refused := func(what, secret string) {
			t.Helper()
			if _, err := s.Authenticate(ctx, secret); !fault.Is(err, fault.Forbidden) {
				t.Errorf("%s: %v, want forbidden", what, err)
			}
		}
		refused("wrong secret", secret[:len(secret)-1]+"!")
		refused("foreign secret", "sk_live_1")
		refused("short secret", account.SecretPrefix)

		c.now = expires
		refused("expired", secret)

		c.now = expires.Add(-time.Minute)
		for range 2 { // revoking twice is the same as once
			if err := s.RevokeToken(ctx, account.DefaultProject, token.ID); err != nil {
				t.Fatal(err)
			}
		}
		refused("revoked", secret)
		if err := s.RevokeToken(ctx, account.DefaultProject+1, token.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("revoking another project's token: %v, want not found", err)
		}

		list, err := s.Tokens(ctx, account.DefaultProject)
		if err != nil || len(list) != 2 || list[0].Name != "ci" || list[0].RevokedAt == nil || list[0].LastUsedAt == nil {
			t.Errorf("tokens %+v, %v", list, err)
		}
		if !list[0].ExpiresAt.Equal(expires) || !strings.HasPrefix(secret, list[0].Prefix) {
			t.Errorf("token %+v lost its facts", list[0])
		}
	})
}

// What the database holds must not let anyone in.
func TestSecretIsNotStored(t *testing.T) {
	each(t, func(t *testing.T, s *account.Service, d *db.DB, _ *clock) {
		ctx := context.Background()
		secret, _, err := s.Bootstrap(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		var name, prefix, scopes string
		var hash []byte
		row := d.Read().QueryRowContext(ctx, "SELECT name, prefix, scopes, hash FROM account_token")
		if err := row.Scan(&name, &prefix, &scopes, &hash); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(hash, []byte(secret)) || len(hash) != 32 || len(prefix) > len(account.SecretPrefix)+6 {
			t.Errorf("stored %q, %x", prefix, hash)
		}
	})
}

func TestBadTokensAreRefused(t *testing.T) {
	each(t, func(t *testing.T, s *account.Service, _ *db.DB, c *clock) {
		ctx := context.Background()
		past := c.now.Add(-time.Second)
		tests := map[string]struct {
			name    string
			scopes  []account.Scope
			expires *time.Time
		}{
			"no name":       {"  ", []account.Scope{account.Admin}, nil},
			"long name":     {strings.Repeat("x", 201), []account.Scope{account.Admin}, nil},
			"no scope":      {"a", nil, nil},
			"unknown scope": {"a", []account.Scope{"root"}, nil},
			"expired":       {"a", []account.Scope{account.Admin}, &past},
		}
		for name, tt := range tests {
			if _, _, err := s.CreateToken(ctx, account.DefaultProject, tt.name, tt.scopes, tt.expires); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v, want invalid", name, err)
			}
		}
	})
}
