package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const amd64 = "amd64 && !purego"

// outputs is everything that is checked in.
func outputs() (out []output) {
	for _, f := range []*file{
		commpAVX512(),
		commpAVX512x2(),
		commpAVX2(),
		commpSHANI(),
		messageAVX512(),
		messageAVX2(),
		messageSHANI(),
	} {
		out = append(out, f.outputs()...)
	}
	return out
}

func main() {
	for _, o := range outputs() {
		if err := os.WriteFile(filepath.FromSlash(o.path), []byte(o.text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
