package main

import (
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/firth-project/firth/base/fault"
	src "github.com/firth-project/firth/base/source"
	"github.com/firth-project/firth/flow/dataset"
	"github.com/firth-project/firth/flow/piece"
)

// apart makes the directory for CARs, and sees to it that a source on this
// machine does not hold what packing writes: the next run would pack the pieces
// of this one. A temporary home was nobody's choice; it is left out of what is
// packed instead.
func (c *packCmd) apart(url, home string, temporary bool, rules *dataset.Rules) error {
	bucket := piece.InBucket(rules.Export)
	if rules.Export != "" && !bucket {
		if err := writable(rules.Export); err != nil {
			return pathFault(c.Out, err)
		}
	}
	root, ok := src.Spec{URL: url}.Local()
	if !ok {
		return nil
	}
	if _, inside := within(root, rules.Export); inside && !bucket {
		return fault.New(fault.Invalid, "--out %s: lies in what is packed, so the next run would pack its CARs; choose a directory outside", c.Out)
	}
	rest, inside := within(root, home)
	switch {
	case !inside:
		return nil
	case temporary:
		rules.Exclude = append(rules.Exclude, "/"+literally(rest)+"/")
		return nil
	}
	return fault.New(fault.Invalid, "--home %s: lies in what is packed, and changes meanwhile; choose a directory outside", home)
}

// writable makes a directory in which files can be made.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".firth-*")
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Remove(f.Name())
}

// within returns the way from a directory to a path that is it or lies below
// it, links resolved as far as there is something. "" is in nothing.
func within(dir, path string) (rest string, inside bool) {
	if path == "" {
		return "", false
	}
	rest, err := filepath.Rel(resolved(dir), resolved(path))
	return rest, err == nil && filepath.IsLocal(rest)
}

// resolved is a path with its links resolved, of what exists of it.
func resolved(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, strings.TrimPrefix(abs, at))
		}
		if at == filepath.Dir(at) {
			return abs
		}
	}
}

// literally is the glob that matches one path alone.
func literally(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// maxNameBytes bounds the name that a dataset gets from its source.
const maxNameBytes = 200

// nameOf is what a dataset is called whose source has no better name: the last
// element of the path, as far as it can be a name.
func nameOf(url string) string {
	name := strings.ToValidUTF8(filepath.Base(url), "_")
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, name)
	if len(name) > maxNameBytes {
		name = strings.ToValidUTF8(name[:maxNameBytes], "")
	}
	switch name = strings.TrimSpace(name); {
	case name == "" || name == "/" || name == ".":
		return "root"
	case strings.Trim(name, "0123456789") == "": // would read as an id
		return "dataset " + name
	}
	return name
}
