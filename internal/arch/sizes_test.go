package arch

import (
	"fmt"
	"go/ast"
)

// Sizes in lines: at look a reviewer looks twice, at fail the test fails.
const (
	lookFile, failFile = 400, 600
	lookFunc, failFunc = 60, 100
)

// smallEnough: what is longer than anyone reads is in the wrong shape.
func smallEnough(m *module) []finding { return larger(m, failFile, failFunc) }

func larger(m *module, fileLines, funcLines int) (out []finding) {
	for _, f := range m.files(written) {
		if f.lines > fileLines {
			out = append(out, finding{f.rel, fmt.Sprintf("%d lines", f.lines)})
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := m.fset.Position(fn.End()).Line - m.fset.Position(fn.Pos()).Line + 1
			if n > funcLines {
				out = append(out, finding{m.at(fn.Pos()), fmt.Sprintf("func %s has %d lines", fn.Name.Name, n)})
			}
		}
	}
	return out
}
