package dbtest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/firth-project/firth/base/db"
)

// Tests open a database by the hundred, and applying the migrations to each is
// most of what that costs: a second under the race detector. So every set of
// migrations is applied once a process and engine, and copied from then on.
var moulds struct {
	mu     sync.Mutex
	sqlite map[[32]byte][]byte // the database file
	server map[[32]byte]string // the name of a database
}

// sqliteMould returns the file of a database with the migrations applied.
func sqliteMould(t *testing.T, migrations []fs.FS) []byte {
	t.Helper()
	key := digest(t, migrations)
	moulds.mu.Lock()
	defer moulds.mu.Unlock()
	if file, ok := moulds.sqlite[key]; ok {
		return file
	}
	path := filepath.Join(t.TempDir(), "mould.db")
	migrate(t, "sqlite:"+path, migrations)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if moulds.sqlite == nil {
		moulds.sqlite = map[[32]byte][]byte{}
	}
	moulds.sqlite[key] = file
	return file
}

// serverMould returns the name of a database with the migrations applied and
// nobody connected.
func serverMould(t *testing.T, migrations []fs.FS) string {
	t.Helper()
	socket, key := requireServer(t), digest(t, migrations)
	moulds.mu.Lock()
	defer moulds.mu.Unlock()
	if name, ok := moulds.server[key]; ok {
		return name
	}
	name := fmt.Sprintf("mould%d", databases.Add(1))
	admin(t, socket, "CREATE DATABASE "+name+" TEMPLATE template0")
	migrate(t, serverURL(socket, name), migrations)
	if moulds.server == nil {
		moulds.server = map[[32]byte]string{}
	}
	moulds.server[key] = name
	return name
}

func migrate(t *testing.T, url string, migrations []fs.FS) {
	t.Helper()
	d, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Migrate(t.Context(), migrations...)
	if closed := d.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
}

// digest is one value for one list of migrations, whatever file systems they
// come in.
func digest(t *testing.T, migrations []fs.FS) (key [32]byte) {
	t.Helper()
	sum := sha256.New()
	for _, set := range migrations {
		err := fs.WalkDir(set, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(set, name)
			fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sum.Sum(key[:0])
	return key
}
