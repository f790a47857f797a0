package source

import (
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Filter says which items of a source are wanted. The zero value wants all.
//
// A glob has * (any bytes but "/"), ? (one such byte), [a-z], [!a-z], \ before
// a byte meant literally, and ** (any bytes, "/" too; "**/" also nothing). A
// glob without "/" is held against the last name of a path, wherever it lies;
// one with "/" against the whole path from the root, where a leading "/" says
// no more. A trailing "/" makes it match directories only. What matches a
// directory holds for everything below.
type Filter struct {
	Include []string // when there are any, only what one of them matches
	Exclude []string // never; stronger than Include. An excluded directory is not listed
	// SkipHidden leaves out names that begin with a dot and all below them.
	SkipHidden bool
}

// Check says whether a source can be walked with the filter.
func (f Filter) Check() error {
	_, err := newMatcher(f)
	return err
}

// matcher is a Filter made ready.
type matcher struct {
	include, exclude []glob
	skipHidden       bool
}

// Most globs of a filter, and their longest, in bytes: each path is held
// against every one.
const (
	maxGlobs    = 1000
	maxGlobSize = 4096
)

func newMatcher(f Filter) (*matcher, error) {
	if n := len(f.Include) + len(f.Exclude); n > maxGlobs {
		return nil, fault.New(fault.Invalid, "filter: %d globs, at most %d: join some with * or **", n, maxGlobs)
	}
	m := &matcher{skipHidden: f.SkipHidden}
	for _, list := range []struct {
		from []string
		to   *[]glob
	}{{f.Include, &m.include}, {f.Exclude, &m.exclude}} {
		for _, text := range list.from {
			g, err := parseGlob(text)
			if err != nil {
				return nil, err
			}
			*list.to = append(*list.to, g)
		}
	}
	return m, nil
}

// verdict is what a filter says of one directory for those below it.
type verdict struct {
	skip     bool // excluded, with all below
	included bool // an Include glob matched it or one above
}

// judge says whether the item of that path is wanted, given what was said of
// the directory it is in. For a directory, skip says whether to list it at all.
func (m *matcher) judge(above verdict, path string, dir bool) (here verdict, wanted bool) {
	if above.skip {
		return above, false
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	if m.skipHidden && strings.HasPrefix(name, ".") || matchAny(m.exclude, path, name, dir) {
		return verdict{skip: true}, false
	}
	here.included = above.included || len(m.include) == 0 || matchAny(m.include, path, name, dir)
	return here, here.included
}

func matchAny(globs []glob, path, name string, dir bool) bool {
	for i := range globs {
		if globs[i].match(path, name, dir) {
			return true
		}
	}
	return false
}
