package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// said are methods whose promise is their interface's; a comment on each would
// restate it.
var said = []string{
	"Error", "Unwrap", "Is", "As", "String", "GoString", "Format", "Len", "Less", "Swap", "Push", "Pop",
	"Read", "Write", "Close", "Seek", "ReadAt", "WriteAt", "WriteTo", "ReadFrom", "ReadByte", "WriteString",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalBinary", "UnmarshalBinary",
	"MarshalCBOR", "UnmarshalCBOR", "MarshalYAML", "UnmarshalYAML", "Scan", "Value", "LogValue", "ServeHTTP",
}

// everyPackageSpeaks: doc.go says what a package owns, promises and refuses. A
// suite or a command may say it in its one file.
func everyPackageSpeaks(m *module) (out []finding) {
	for _, p := range m.pkgs {
		var doc *ast.CommentGroup
		for _, f := range p.files {
			if f.ast.Doc != nil && (f.name == "doc.go" || isCommand(f) || suite(p.rel)) {
				doc = f.ast.Doc
			}
		}
		if doc == nil {
			out = append(out, finding{p.rel, "no package comment in doc.go"})
			continue
		}
		if text := doc.Text(); !strings.HasPrefix(text, "Package ") && !strings.HasPrefix(text, "Command ") {
			out = append(out, finding{p.rel, "the package comment begins with " + firstWords(text)})
		}
	}
	return out
}

func firstWords(text string) string {
	return `"` + strings.Join(strings.Fields(text)[:min(3, len(strings.Fields(text)))], " ") + ` …"`
}

// everyNameSpeaks: exported names carry their promise.
func everyNameSpeaks(m *module) (out []finding) {
	for _, f := range m.files(func(f *file) bool { return written(f) && !isCommand(f) }) {
		for _, d := range f.ast.Decls {
			for _, n := range unspoken(d) {
				out = append(out, finding{m.at(n.pos), n.name + " has no comment"})
			}
		}
	}
	return out
}

func unspoken(d ast.Decl) []named {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !(d.Recv != nil && (slices.Contains(said, d.Name.Name) || !exportedReceiver(d))) {
			return []named{{d.Name.Name, d.Pos()}}
		}
	case *ast.GenDecl:
		if d.Doc == nil && d.Tok != token.IMPORT {
			return unspokenSpecs(d.Specs)
		}
	}
	return nil
}

func unspokenSpecs(specs []ast.Spec) (out []named) {
	for _, s := range specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
				out = append(out, named{s.Name.Name, s.Pos()})
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil {
				out = append(out, named{s.Names[0].Name, s.Pos()})
			}
		}
	}
	return out
}

func exportedReceiver(d *ast.FuncDecl) bool {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}
