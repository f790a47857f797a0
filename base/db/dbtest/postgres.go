package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the private PostgreSQL server of this test process.
var server = sync.OnceValues(startServer)

var databases atomic.Int64

// PostgresURL creates an empty database on the private server and returns its
// URL; the database is dropped when the test ends. It skips or fails as Each does.
func PostgresURL(t *testing.T) string {
	t.Helper()
	return create(t, "template0")
}

func create(t *testing.T, template string) (url string) {
	t.Helper()
	socket := requireServer(t)
	name := fmt.Sprintf("t%d", databases.Add(1))
	admin(t, socket, "CREATE DATABASE "+name+" TEMPLATE "+template)
	t.Cleanup(func() { admin(t, socket, "DROP DATABASE "+name+" WITH (FORCE)") })
	return serverURL(socket, name)
}

func serverURL(socket, database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", database, socket)
}

func requireServer(t *testing.T) (socket string) {
	t.Helper()
	socket, err := server()
	if err == nil {
		return socket
	}
	if errors.Is(err, errNoServer) && os.Getenv("FIRTH_TEST_POSTGRES") != "require" {
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", err)
	}
	t.Fatalf("start PostgreSQL: %v", err)
	return ""
}

func admin(t *testing.T, socket, statement string) {
	t.Helper()
	// The cleanup of a test runs after its own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, serverURL(socket, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

var errNoServer = errors.New("no server program found; install PostgreSQL 15 or newer (Debian: postgresql)")

// serverScript runs in a shell beside the tests. Its standard input is a pipe
// whose other end only this process holds, so reading it ends when the process
// does, for whatever reason, SIGKILL included; then server and data go.
const serverScript = `
cd "$1" || exit 1
"$2/initdb" -D data -U postgres --auth=trust --no-sync --encoding=UTF8 --locale=C >log 2>&1 || exit 1
"$2/postgres" -D data -k "$1" -c listen_addresses= -c fsync=off -c synchronous_commit=off \
	-c full_page_writes=off -c max_connections=300 -c shared_buffers=64MB -c autovacuum=off >>log 2>&1 &
server=$!
read -r _
kill -QUIT $server
wait $server
cd / && rm -rf "$1"
`

func startServer() (socket string, err error) {
	bin, err := serverPrograms()
	if err != nil {
		return "", err
	}
	// Not os.TempDir: the name of a socket is limited to about 100 bytes.
	dir, err := os.MkdirTemp("/tmp", "firth-postgres-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("/bin/sh", "-c", serverScript, "sh", dir, bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not the terminal's ^C: the pipe tells
	if os.Getuid() == 0 {
		if err := dropRoot(cmd, dir); err != nil {
			return "", err
		}
	}
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return dir, awaitServer(dir, ended)
}

// awaitServer returns once the server answers.
func awaitServer(dir string, ended <-chan error) error {
	deadline := time.After(3 * time.Minute)
	for {
		conn, err := pgx.Connect(context.Background(), serverURL(dir, "postgres"))
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-ended:
			text, _ := readTail(filepath.Join(dir, "log"))
			return fmt.Errorf("the server ended: %s", text)
		case <-deadline:
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func readTail(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 2000 {
		f.Seek(-2000, io.SeekEnd)
	}
	text, err := io.ReadAll(f)
	return string(text), err
}

// serverPrograms finds the folder of initdb and postgres: in PATH, else where
// Debian puts them, newest first.
func serverPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	for version := 30; version >= 15; version-- {
		dir := fmt.Sprintf("/usr/lib/postgresql/%d/bin", version)
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", errNoServer
}

// dropRoot has cmd run as the user postgres, or as nobody where there is none:
// the server refuses root.
func dropRoot(cmd *exec.Cmd, dir string) error {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("%w, and a user postgres or nobody to run it as: %w", errNoServer, err)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(dir, int(uid), int(gid))
}
