package main

import (
	"crypto/sha256"
	"math/rand/v2"

	hashhash "github.com/filecoin-project/go-fil-commp-hashhash"

	"github.com/firth-project/firth/base/commp"
	"github.com/firth-project/firth/base/sha256x"
)

const mib = 1 << 20

// hashing compares the hashing alone, from memory.
func hashing() []contest {
	return []contest{
		{name: "commp", title: "piece commitment of 254 MiB", unit: "MiB", per: mib, subjects: byKernel("firth", ownCommP,
			subject{name: "go-fil-commp-hashhash", work: peerCommP})},
		{name: "leaves", title: "SHA-256 of 256 leaves of 1 MiB", unit: "MiB", per: mib, subjects: byKernel("firth", ownLeaves(256, mib),
			subject{name: "crypto/sha256", work: peerLeaves(256, mib)})},
		{name: "small-leaves", title: "SHA-256 of 65,536 leaves of 4 KiB", unit: "MiB", per: mib, subjects: byKernel("firth", ownLeaves(65_536, 4096),
			subject{name: "crypto/sha256", work: peerLeaves(65_536, 4096)})},
	}
}

// byKernel adds our work once for each kernel this machine has.
func byKernel(name string, do work, peers ...subject) []subject {
	all := append([]subject{{name: name, work: do}}, peers...)
	for _, k := range commp.Kernels() {
		all = append(all, subject{name: name + ", " + k, kernel: k, work: do})
	}
	return all
}

func ownCommP(places) (func() (int64, error), error) {
	data := noise(32*mib, 1)
	return func() (int64, error) {
		sum := commp.New()
		n, err := feed(sum, data)
		if err == nil {
			_, err = sum.Sum()
		}
		return n, err
	}, nil
}

func peerCommP(places) (func() (int64, error), error) {
	data := noise(32*mib, 1)
	return func() (int64, error) {
		sum := new(hashhash.Calc)
		n, err := feed(sum, data)
		if err == nil {
			_, _, err = sum.Digest()
		}
		return n, err
	}, nil
}

// feed writes 254 MiB, which is 256 MiB after Fr32, from a buffer that no
// processor's cache holds.
func feed(w interface{ Write([]byte) (int, error) }, data []byte) (int64, error) {
	const total = 254 * mib
	var n int64
	for n < total {
		from := int(n % int64(len(data)))
		step := min(mib, len(data)-from, int(total-n))
		if _, err := w.Write(data[from : from+step]); err != nil {
			return n, err
		}
		n += int64(step)
	}
	return n, nil
}

// leavesAtOnce is how many the pack pipeline hashes together.
const leavesAtOnce = 16 * mib

func ownLeaves(count, size int) work {
	return func(places) (func() (int64, error), error) {
		leaves := cut(count, size)
		return func() (int64, error) {
			step := max(1, leavesAtOnce/size)
			sums := make([][32]byte, step)
			for from := 0; from < count; from += step {
				batch := leaves[from:min(from+step, count)]
				sha256x.Sum(sums[:len(batch)], batch)
			}
			return int64(count * size), nil
		}, nil
	}
}

func peerLeaves(count, size int) work {
	return func(places) (func() (int64, error), error) {
		leaves := cut(count, size)
		return func() (int64, error) {
			sums := make([][32]byte, count)
			for i, leaf := range leaves {
				sums[i] = sha256.Sum256(leaf)
			}
			return int64(count * size), nil
		}, nil
	}
}

// cut makes leaves that are all different.
func cut(count, size int) [][]byte {
	data := noise(count*size, 2)
	leaves := make([][]byte, count)
	for i := range leaves {
		leaves[i] = data[i*size : (i+1)*size]
	}
	return leaves
}

// noise is n bytes that no store can make smaller, the same for a seed.
func noise(n int, seed byte) []byte {
	out := make([]byte, n)
	_, _ = source(seed).Read(out) // never fails
	return out
}

func source(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }
