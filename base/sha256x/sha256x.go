package sha256x

// Sum sets out[i] to the SHA-256 of msgs[i]. Messages may be of any lengths and
// may overlap; they must not change until Sum returns. It is quickest for 16
// messages or more, and not slower than crypto/sha256 for one. Any number of
// goroutines may call it at the same time; one call uses one processor. It
// panics when out and msgs differ in length.
func Sum(out [][32]byte, msgs [][]byte) {
	if len(out) != len(msgs) {
		panic("sha256x: as many digests as messages are wanted")
	}
	chosen().sum(out, msgs)
}

// Kernel returns the name of the kernel that serves full lanes: one of Kernels.
func Kernel() string { return chosen()[maxLanes].name }

// Kernels returns the names of the kernels this machine can run, the quickest
// first: some of avx512, avx2, shani and arm64, and always portable.
func Kernels() []string {
	var names []string
	for _, k := range ranked() {
		names = append(names, k.name)
	}
	return names
}
