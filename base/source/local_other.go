//go:build !linux

package source

import (
	"os"
	"path/filepath"
)

func (l *local) openFile(path string) (*os.File, error) { return openBeneath(l.root, path) }

func (l *local) readDir(dir string) ([]entry, error) {
	listed, err := os.ReadDir(filepath.Join(l.root, filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	out := make([]entry, len(listed))
	for i, d := range listed {
		info, err := d.Info()
		if err != nil {
			out[i] = entry{name: d.Name(), bad: true, note: localFault(err).Error()}
			continue
		}
		out[i] = localEntry(d.Name(), info)
		if out[i].kind == KindSymlink {
			target, err := os.Readlink(filepath.Join(l.root, filepath.FromSlash(dir), d.Name()))
			if out[i].note = target; err != nil {
				out[i].bad, out[i].note = true, localFault(err).Error()
			}
		}
	}
	return out, nil
}
