package app

import (
	"bytes"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

// What one secret seals, the same opens and no other; nothing of it shows.
func TestSafe(t *testing.T) {
	s, err := newSafe([]byte("a secret of this node"), forSources)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(`{"secret_access_key":"tell-nobody"}`)
	one, err := s.Seal(text)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Seal(text)
	if err != nil || bytes.Equal(one, two) || bytes.Contains(one, []byte("tell")) {
		t.Errorf("sealed %x and %x, %v", one, two, err)
	}
	again, err := newSafe([]byte("a secret of this node"), forSources)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := again.Open(one); err != nil || !bytes.Equal(back, text) {
		t.Errorf("%s, %v", back, err)
	}
	other, err := newSafe([]byte("the secret of another"), forSources)
	if err != nil {
		t.Fatal(err)
	}
	deals, err := newSafe([]byte("a secret of this node"), forDeals)
	if err != nil {
		t.Fatal(err)
	}
	one[len(one)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another secret":  func() ([]byte, error) { return other.Open(two) },
		"another purpose": func() ([]byte, error) { return deals.Open(two) },
		"damaged":         func() ([]byte, error) { return s.Open(one) },
		"cut short":       func() ([]byte, error) { return s.Open(two[:5]) },
		"nothing":         func() ([]byte, error) { return s.Open(nil) },
	} {
		if _, err := open(); !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
