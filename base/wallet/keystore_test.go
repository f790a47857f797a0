package wallet

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"

	"github.com/firth-project/firth/base/fault"
)

// cheap is a work factor for tests; Open reads any up to its limit.
const cheap = 10

var secret = []byte("correct horse")

func open(t testing.TB, dir string) *Keystore {
	t.Helper()
	ks, err := openKeystore(dir, secret, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func TestKeystoreKeepsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wallet")
	ks := open(t, dir)
	keys := readKeys(t)
	for _, k := range keys {
		for range 2 { // the second time changes nothing
			if err := ks.Add(k); err != nil {
				t.Fatal(err)
			}
		}
	}
	ks = open(t, dir)
	if len(ks.List()) != len(keys) {
		t.Fatalf("%d keys, want %d", len(ks.List()), len(keys))
	}
	for _, a := range ks.List() {
		k := keys[FormatAddress(a)]
		if text, err := ks.Export(a); err != nil || !bytes.Equal(text, k.Export()) {
			t.Errorf("export %s: %v", k, err)
		}
		sig, err := ks.Sign(t.Context(), a, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(sig, a, []byte("x")); err != nil {
			t.Error(err)
		}
	}
}

// A key that a command adds beside a running node signs for the node.
func TestKeystoreFollowsAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := open(t, dir), open(t, dir)
	for _, k := range readKeys(t) {
		if err := theirs.Add(k); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Sign(t.Context(), k.Address(), []byte("x")); err != nil {
			t.Errorf("%s: %v", k, err)
		}
		if len(ours.List()) != 1 {
			t.Errorf("%s: %d keys listed", k, len(ours.List()))
		}
		if err := theirs.Remove(k.Address()); err != nil {
			t.Fatal(err)
		}
		if len(ours.List()) != 0 {
			t.Errorf("%s: still listed", k)
		}
		if _, err := ours.Sign(t.Context(), k.Address(), []byte("x")); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: signed after it was removed: %v", k, err)
		}
	}
}

func TestKeystoreFilesTellNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wallet")
	ks := open(t, dir)
	keys := readKeys(t)
	for _, k := range keys {
		if err := ks.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(keys)+1 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all := e.Name() + string(text)
		for printed, k := range keys {
			for _, part := range []string{printed[2:], string(k.secret[:]), hex.EncodeToString(k.secret[:]), string(k.Export()), hex.EncodeToString(k.addr.Payload())} {
				if strings.Contains(all, part) {
					t.Errorf("%s tells of %s", e.Name(), k)
				}
			}
		}
	}
}

func TestKeystoreWrongSecret(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Add(generate(t, BLS)); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeystore(dir, []byte("wrong"), cheap); !fault.Is(err, fault.Forbidden) {
		t.Errorf("wrong secret: %v", err)
	}
	if _, err := openKeystore(dir, nil, cheap); !fault.Is(err, fault.Invalid) {
		t.Errorf("empty secret: %v", err)
	}
	if len(open(t, dir).List()) != 1 {
		t.Error("the right secret no longer opens it")
	}
}

func TestKeystoreDamage(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		damage func(text []byte) []byte
		want   fault.Kind
	}{
		"key cut":             {keyPrefix, func(b []byte) []byte { return b[:len(b)-1] }, fault.Invalid},
		"key changed":         {keyPrefix, func(b []byte) []byte { b[len(b)-20] ^= 1; return b }, fault.Invalid},
		"key emptied":         {keyPrefix, func([]byte) []byte { return nil }, fault.Invalid},
		"identity cut":        {identityFile, func(b []byte) []byte { return b[:len(b)-1] }, fault.Invalid},
		"identity no age":     {identityFile, func([]byte) []byte { return []byte("hello") }, fault.Invalid},
		"key of another lock": {keyPrefix, func([]byte) []byte { return otherKeystoreFile(t) }, fault.Forbidden},
	} {
		dir := t.TempDir()
		if err := open(t, dir).Add(generate(t, Secp256k1)); err != nil {
			t.Fatal(err)
		}
		path := findFile(t, dir, c.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.damage(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openKeystore(dir, secret, cheap); !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func findFile(t *testing.T, dir, prefix string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			return filepath.Join(dir, e.Name())
		}
	}
	t.Fatalf("no %s… in %s", prefix, dir)
	return ""
}

func otherKeystoreFile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := open(t, dir).Add(generate(t, Secp256k1)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(findFile(t, dir, keyPrefix))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A lost identity must not be replaced while keys depend on it.
func TestKeystoreLostIdentity(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Add(generate(t, Delegated)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeystore(dir, secret, cheap); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, identityFile)); !os.IsNotExist(err) {
		t.Error("a new identity was written")
	}
}

func TestKeystoreRemove(t *testing.T) {
	dir := t.TempDir()
	ks := open(t, dir)
	a, b := generate(t, Secp256k1), generate(t, BLS)
	for _, k := range []Key{a, b} {
		if err := ks.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := ks.Remove(a.Address()); err != nil {
		t.Fatal(err)
	}
	for _, ks := range []*Keystore{ks, open(t, dir)} {
		if got := ks.List(); len(got) != 1 || got[0] != b.Address() {
			t.Errorf("left: %v", got)
		}
		_, signErr := ks.Sign(t.Context(), a.Address(), nil)
		_, exportErr := ks.Export(a.Address())
		_, messageErr := ks.SignMessage(t.Context(), message(a.Address()), 0)
		for _, err := range []error{signErr, exportErr, messageErr, ks.Remove(a.Address())} {
			if !fault.Is(err, fault.NotFound) {
				t.Error(err)
			}
		}
	}
}

func TestKeystoreSignsMessages(t *testing.T) {
	ks := open(t, t.TempDir())
	k := generate(t, Secp256k1)
	if err := ks.Add(k); err != nil {
		t.Fatal(err)
	}
	sm, err := ks.SignMessage(t.Context(), message(k.Address()), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyMessage(sm, 0); err != nil {
		t.Error(err)
	}
	if err := ks.Add(Key{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("empty key: %v", err)
	}
}

// What a killed writer leaves is swept, and two first openings share one
// identity.
func TestKeystoreSurvivesInterruption(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	stores := make([]*Keystore, 4)
	for i := range stores {
		wg.Go(func() {
			s, err := openSeal(dir, secret, cheap)
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = &Keystore{dir: dir, seal: s, keys: make(map[address.Address]Key)}
		})
	}
	wg.Wait()
	for _, ks := range stores {
		if ks.seal.identity.String() != stores[0].seal.identity.String() {
			t.Fatal("two identities")
		}
	}
	left := filepath.Join(dir, tempPrefix+"123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the temporary file is still there")
	}
}

// The real cost of opening is paid once, not for each signature.
func TestOpenKeystore(t *testing.T) {
	dir := t.TempDir()
	ks, err := OpenKeystore(dir, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := ks.Add(generate(t, Secp256k1)); err != nil {
		t.Fatal(err)
	}
	if len(open(t, dir).List()) != 1 {
		t.Error("the key is gone")
	}
}

func BenchmarkSign(b *testing.B) {
	for _, kind := range kinds {
		k := generate(b, kind)
		sig, _ := k.Sign([]byte("x"))
		b.Run("sign/"+string(kind), func(b *testing.B) {
			for b.Loop() {
				_, _ = k.Sign([]byte("x"))
			}
		})
		b.Run("verify/"+string(kind), func(b *testing.B) {
			for b.Loop() {
				_ = Verify(sig, k.Address(), []byte("x"))
			}
		})
	}
}
