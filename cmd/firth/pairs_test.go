package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestPairs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	large := file + ".large"
	for name, text := range map[string]string{file: "s3=cret \r\n", large: strings.Repeat("x", maxSecret+1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(args ...string) (pairs, error) {
		var cli struct{ Option pairs }
		p, err := kong.New(&cli)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Parse(args)
		return cli.Option, err
	}
	got, err := parse("--option", "a=b=c,d", "--option=key=@"+file, "--option", "x=", "--option=y=@@z", "--option=a=last")
	want := pairs{"a": "last", "key": "s3=cret ", "x": "", "y": "@z"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for arg, word := range map[string]string{
		"a": "want NAME=VALUE", "=b": "want NAME=VALUE", "a=@/none": "no such file", "a=@" + large: "more than 65536 bytes",
	} {
		if _, err := parse("--option", arg); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "--option") {
			t.Errorf("%.20s: %v, want %q", arg, err, word)
		}
	}
}
