package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// modulePath is ours; everything else a file imports is the standard library
// or foreign.
const modulePath = "github.com/firth-project/firth"

// module is the tree as the rules see it: parsed, not type-checked, all build
// tags at once. It is read from any fs.FS, so a planted tree in memory is
// judged by the same code as the real one.
type module struct {
	fset *token.FileSet
	pkgs []*pkg    // by path
	sql  []*script // every .sql file, by path
}

// pkg is one folder with Go files.
type pkg struct {
	rel   string // path below the module root: "base/db"
	files []*file
}

// file is one Go file. Its package is in.rel; its own path is rel.
type file struct {
	in        *pkg
	rel, name string
	src       []byte
	ast       *ast.File
	lines     int
	test      bool // compiled into a test binary only
	generated bool // says "Code generated … DO NOT EDIT."
	imports   []imported
}

type imported struct {
	path string
	pos  token.Pos
}

// script is one SQL file.
type script struct {
	rel, text string
}

// finding is one broken rule at one place.
type finding struct {
	at  string // file, or file:line
	say string
}

// load reads the tree below root. Folders that hold no code of ours (hidden
// ones, testdata, vendor, ui, node_modules) are passed over.
func load(root fs.FS) (*module, error) {
	m := &module{fset: token.NewFileSet()}
	byDir := map[string]*pkg{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(name)
		case strings.HasSuffix(name, ".sql"):
			text, err := fs.ReadFile(root, name)
			m.sql = append(m.sql, &script{name, string(text)})
			return err
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return m.add(byDir, name, src)
	})
	return m, err
}

// enter decides whether a folder is walked.
func enter(name string) error {
	base := path.Base(name)
	hidden := name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_"))
	if hidden || name == "ui" || slices.Contains([]string{"testdata", "vendor", "node_modules"}, base) {
		return fs.SkipDir
	}
	return nil
}

// add parses one file into its package. A script kept beside the code with
// "//go:build ignore" belongs to no package and is left out.
func (m *module) add(byDir map[string]*pkg, name string, src []byte) error {
	tree, err := parser.ParseFile(m.fset, name, src, parser.ParseComments)
	if err != nil {
		return err
	}
	if ignored(tree) {
		return nil
	}
	dir := path.Dir(name)
	if byDir[dir] == nil {
		byDir[dir] = &pkg{rel: dir}
		m.pkgs = append(m.pkgs, byDir[dir])
	}
	f := &file{
		in: byDir[dir], rel: name, name: path.Base(name), src: src, ast: tree,
		lines: bytes.Count(src, []byte("\n")), generated: ast.IsGenerated(tree),
		test: strings.HasSuffix(name, "_test.go"),
	}
	for _, s := range tree.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", name, s.Path.Value, err)
		}
		f.imports = append(f.imports, imported{p, s.Pos()})
	}
	byDir[dir].files = append(byDir[dir].files, f)
	return nil
}

func ignored(tree *ast.File) bool {
	for _, g := range tree.Comments {
		if g.Pos() > tree.Package {
			break
		}
		for _, c := range g.List {
			x, err := constraint.Parse(c.Text)
			if err == nil && !x.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

// ours returns the part of an import path below the module root.
func ours(p string) (rel string, yes bool) {
	if p == modulePath {
		return ".", true
	}
	return strings.CutPrefix(p, modulePath+"/")
}

// standard reports whether an import path is the standard library's.
func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// under reports whether rel is dir or below it.
func under(rel, dir string) bool {
	return rel == dir || strings.HasPrefix(rel, dir+"/")
}

// at names a place as file:line.
func (m *module) at(p token.Pos) string {
	q := m.fset.Position(p)
	return fmt.Sprintf("%s:%d", q.Filename, q.Line)
}

// files yields every Go file that keep accepts.
func (m *module) files(keep func(*file) bool) []*file {
	var out []*file
	for _, p := range m.pkgs {
		for _, f := range p.files {
			if keep(f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// written is the code people write and ship: neither tests nor generated.
func written(f *file) bool { return !f.test && !f.generated && !suite(f.in.rel) }

// suite reports whether a package exists to be used by tests: a conformance
// suite such as base/blob/blobtest, or the scenarios and benchmarks.
func suite(rel string) bool {
	return strings.HasSuffix(path.Base(rel), "test") || floorOf(rel) == "test" || floorOf(rel) == "bench"
}
