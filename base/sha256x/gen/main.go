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
		commpARM64(),
		messageAVX512(),
		messageAVX2(),
		messageSHANI(),
		messageARM64(),
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
