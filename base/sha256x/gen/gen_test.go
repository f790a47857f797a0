package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCheckedInFilesAreTheOutput(t *testing.T) {
	for _, o := range outputs() {
		have, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(o.path)))
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != o.text {
			t.Errorf("%s is not what go run ./base/sha256x/gen writes", o.path)
		}
	}
}
