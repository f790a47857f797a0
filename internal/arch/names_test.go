package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// vagueNames say nothing about what a package or file holds.
var vagueNames = []string{
	"util", "utils", "common", "core", "model", "models", "type", "types", "manager", "managers",
	"handler", "handlers", "helper", "helpers", "misc", "lib", "stuff",
}

// synonym is a word the glossary has another word for. It is matched in the
// words of exported Go names, JSON and bun tags, and SQL.
type synonym struct{ words, say string }

var synonyms = []synonym{
	{"miner", "provider"},
	{"storage provider", "provider"},
	{"staging", "bucket"},
	{"zone", "bucket"},
	{"api key", "token"},
	{"tenant", "project"},
	{"shuttle", "node"},
	{"car file", "piece"},
	{"folder", "directory"},
	{"generation request", "chunk"},
	{"replication request", "policy"},
	{"prep", "preparation"},
}

// wireNames may use a banned word, because somebody else's format does.
var wireNames = []struct{ in, words, why string }{
	{"base/chain", "miner", "Lotus' JSON-RPC: StateMinerInfo, BlockHeader.Miner"},
	{"base/mk12", "miner", "Boost's CBOR: StorageAsk.Miner"},
	{"front/compat/singularity", "generation request", "Singularity's JSON: generationRequests"},
	{"devnet", "miner", "answers as a Lotus node does"},
}

// plainNames: no package, folder or file is called by what it is not.
func plainNames(m *module) (out []finding) {
	vague := func(name string) (string, bool) {
		for _, w := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' || r == '.' }) {
			if slices.Contains(vagueNames, w) {
				return w, true
			}
		}
		return "", false
	}
	for _, p := range m.pkgs {
		for _, part := range strings.Split(p.rel, "/") {
			if w, bad := vague(part); bad {
				out = append(out, finding{p.rel, fmt.Sprintf("folder named %q", w)})
			}
		}
		for _, f := range p.files {
			if w, bad := vague(strings.TrimSuffix(f.name, ".go")); bad {
				out = append(out, finding{f.rel, fmt.Sprintf("file named %q", w)})
			}
			if name := strings.TrimSuffix(f.ast.Name.Name, "_test"); name != path.Base(p.rel) && name != "main" && p.rel != "." {
				out = append(out, finding{f.rel, fmt.Sprintf("package %s in folder %s", name, path.Base(p.rel))})
			}
		}
	}
	return out
}

// oneWord: a thing is called by the glossary's word.
func oneWord(m *module) (out []finding) {
	for _, f := range m.files(func(f *file) bool { return !f.test }) {
		for _, n := range f.spoken() {
			if s, bad := banned(f.in.rel, n.name); bad {
				out = append(out, finding{m.at(n.pos), fmt.Sprintf("%s: say %s, not %s", n.name, s.say, s.words)})
			}
		}
	}
	for _, s := range m.sql {
		for i, line := range strings.Split(stripComments(s.text), "\n") {
			for _, w := range identifier.FindAllString(line, -1) {
				if b, bad := banned(path.Dir(s.rel), w); bad {
					out = append(out, finding{fmt.Sprintf("%s:%d", s.rel, i+1), fmt.Sprintf("%s: say %s, not %s", w, b.say, b.words)})
				}
			}
		}
	}
	return out
}

var identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

func banned(rel, name string) (synonym, bool) {
	text := " " + strings.Join(wordsOf(name), " ") + " "
	for _, s := range synonyms {
		if !strings.Contains(text, " "+s.words+" ") && !strings.Contains(text, " "+s.words+"s ") {
			continue
		}
		excused := false
		for _, w := range wireNames {
			excused = excused || w.words == s.words && under(rel, w.in)
		}
		if !excused {
			return s, true
		}
	}
	return synonym{}, false
}

// wordsOf splits CamelCase, APIKeys and snake_case into lower-case words.
func wordsOf(name string) (out []string) {
	runes := []rune(name)
	start := 0
	cut := func(end int) {
		if w := strings.Trim(string(runes[start:end]), "_-,:;%"); w != "" {
			out = append(out, strings.ToLower(w))
		}
		start = end
	}
	for i := 1; i < len(runes); i++ {
		before, here := runes[i-1], runes[i]
		lowerNext := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		switch {
		case here == '_' || before == '_' || here == '-' || before == '-':
			cut(i)
		case unicode.IsUpper(here) && (!unicode.IsUpper(before) || lowerNext && string(runes[i:]) != "s"):
			cut(i)
		}
	}
	cut(len(runes))
	return out
}

// named is a name others see.
type named struct {
	name string
	pos  token.Pos
}

// spoken lists a file's exported names and the names its tags put on the wire
// or into the database.
func (f *file) spoken() (out []named) {
	out = append(out, named{f.ast.Name.Name, f.ast.Name.Pos()})
	add := func(ids ...*ast.Ident) {
		for _, i := range ids {
			if i.IsExported() {
				out = append(out, named{i.Name, i.Pos()})
			}
		}
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name)
				case *ast.ValueSpec:
					add(s.Names...)
				}
			}
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		field, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		if field.Tag != nil {
			for _, name := range tagNames(field.Tag.Value) {
				out = append(out, named{name, field.Tag.Pos()})
			}
		}
		return true
	})
	return append(out, fieldsOf(f.ast)...)
}

// fieldsOf lists exported struct fields and interface methods.
func fieldsOf(tree *ast.File) (out []named) {
	ast.Inspect(tree, func(n ast.Node) bool {
		var list *ast.FieldList
		switch t := n.(type) {
		case *ast.StructType:
			list = t.Fields
		case *ast.InterfaceType:
			list = t.Methods
		default:
			return true
		}
		for _, field := range list.List {
			for _, i := range field.Names {
				if i.IsExported() {
					out = append(out, named{i.Name, i.Pos()})
				}
			}
		}
		return true
	})
	return out
}

var tagPair = regexp.MustCompile(`(?:json|bun|yaml):"([^"]*)"`)

// tagNames returns the names in a json, yaml or bun tag: its first element,
// and a table's.
func tagNames(literal string) (out []string) {
	tag, err := strconv.Unquote(literal)
	if err != nil {
		return nil
	}
	for _, pair := range tagPair.FindAllStringSubmatch(tag, -1) {
		for i, element := range strings.Split(pair[1], ",") {
			if name, ok := strings.CutPrefix(element, "table:"); ok {
				out = append(out, name)
			} else if i == 0 && element != "" && element != "-" {
				out = append(out, element)
			}
		}
	}
	return out
}
