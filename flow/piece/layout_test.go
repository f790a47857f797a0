package piece

import "testing"

func TestNamesAreHandedOutOnce(t *testing.T) {
	s, seen := newNames(), map[string]bool{}
	for i := range 20_000 { // as many again would take as long again
		name := s.take([]string{"a", "a (2)", "", "x/y", "a"}[i%5], "fallback")
		if seen[name] || name == "" || len(name) > 255 {
			t.Fatalf("%q twice", name)
		}
		seen[name] = true
	}
	if got := s.take("b", "f"); got != "b" {
		t.Errorf("a free name became %q", got)
	}
	if got := s.take("b", "f"); got != "b (2)" {
		t.Errorf("the second became %q", got)
	}
}
