package app

import "runtime/debug"

// Build says what was built.
type Build struct {
	Version string `json:"version"` // a tag, or "devel"
	Commit  string `json:"commit"`  // "unknown" when built outside a checkout
	Go      string `json:"go"`
}

// Version reads what the Go toolchain stamped into the binary.
func Version() Build {
	b := Build{Version: "devel", Commit: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Commit = s.Value
		}
	}
	return b
}
