package db

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/firth-project/firth/base/fault"
)

// identity is what {{identity}} becomes. AUTOINCREMENT, because a reused id
// would let an old reference name a new thing.
func identity(engine Engine) []byte {
	if engine == PostgreSQL {
		return []byte("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
	}
	return []byte("INTEGER PRIMARY KEY AUTOINCREMENT")
}

// migrations is a flat, read-only file system of SQL texts by base name: the
// view of the merged sets that goose reads.
type migrations map[string][]byte

// mergeMigrations gathers the *.sql files of all sets. The same file given twice
// is one file, since two packages' tests may both bring what they build on.
func mergeMigrations(engine Engine, sets []fs.FS) (migrations, error) {
	merged := migrations{}
	numbers := map[string]string{}
	for _, set := range sets {
		err := fs.WalkDir(set, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(name) != ".sql" {
				return err
			}
			text, err := fs.ReadFile(set, name)
			if err != nil {
				return err
			}
			text = bytes.ReplaceAll(text, []byte("{{identity}}"), identity(engine))
			base := path.Base(name)
			number, _, _ := strings.Cut(base, "_")
			number = strings.TrimLeft(number, "0")
			if other, taken := numbers[number]; taken && !(other == base && bytes.Equal(merged[base], text)) {
				return fault.New(fault.Internal, "migrations %s and %s have one number: numbers are global, take a free one", other, base)
			}
			numbers[number], merged[base] = base, text
			return nil
		})
		if err != nil {
			return nil, fault.Wrap(err, "read migrations")
		}
	}
	return merged, nil
}

// Open implements fs.FS.
func (m migrations) Open(name string) (fs.File, error) {
	if text, ok := m[name]; ok {
		return &migrationFile{Reader: bytes.NewReader(text), info: migrationInfo{name, int64(len(text))}}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS; there is only the root.
func (m migrations) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var entries []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(m)) {
		entries = append(entries, fs.FileInfoToDirEntry(migrationInfo{base, int64(len(m[base]))}))
	}
	return entries, nil
}

type migrationFile struct {
	io.Reader
	info migrationInfo
}

func (f *migrationFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *migrationFile) Close() error               { return nil }

type migrationInfo struct {
	name string
	size int64
}

func (i migrationInfo) Name() string       { return i.name }
func (i migrationInfo) Size() int64        { return i.size }
func (i migrationInfo) Mode() fs.FileMode  { return 0o444 }
func (i migrationInfo) ModTime() time.Time { return time.Time{} }
func (i migrationInfo) IsDir() bool        { return false }
func (i migrationInfo) Sys() any           { return nil }
