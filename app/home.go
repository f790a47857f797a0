package app

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/firth-project/firth/base/fault"
)

// Home is the directory that holds all a node keeps, locked for one process.
type Home struct {
	dir  string
	lock *os.File
}

// OpenHome makes the directory if needed and locks it. A home that another
// process uses is a Conflict: apart means PostgreSQL and a home each.
func OpenHome(dir string) (*Home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Invalid, "home %s: %w; choose another with --home", dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Invalid, "home %s: %w; choose another with --home", dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fault.New(fault.Conflict,
			"home %s: another firth process uses it; stop that one, or give this one its own --home", dir)
	}
	return &Home{dir: dir, lock: lock}, nil
}

// Path joins names to the home.
func (h *Home) Path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// Close unlocks the home.
func (h *Home) Close() error { return h.lock.Close() }

// secret returns the node's secret: the configured one, or one kept in the home
// since the first start.
func (h *Home) secret(configured string) ([]byte, error) { return secretIn(h.dir, configured) }

func secretIn(dir, configured string) ([]byte, error) {
	if configured != "" {
		return []byte(configured), nil
	}
	path := filepath.Join(dir, "secret")
	raw, err := os.ReadFile(path)
	if err == nil {
		if len(strings.TrimSpace(string(raw))) < 16 {
			return nil, fault.New(fault.Invalid, "secret %s: is cut short; restore it from a backup, the keystore needs it", path)
		}
		return []byte(strings.TrimSpace(string(raw))), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, "read the secret")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, "keep a secret")
	}
	fresh := rand.Text()
	if err := writeFile(path, []byte(fresh+"\n")); err != nil {
		return nil, fault.Wrap(err, "keep a secret")
	}
	return []byte(fresh), nil
}

// Access is how this machine's command line reaches the node: it is written
// into the home when the node starts, readable by its owner alone.
type Access struct {
	API   string `json:"api"`
	Token string `json:"token"`
}

const accessFile = "client.json"

// ReadAccess returns what the node in dir left for the command line.
func ReadAccess(dir string) (Access, error) {
	raw, err := os.ReadFile(filepath.Join(dir, accessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Access{}, fault.New(fault.NotFound, "no node has run in %s; start one with `firth serve`, or name one with --api and --token", dir)
	}
	if err != nil {
		return Access{}, fault.Wrap(err, "find the node")
	}
	var a Access
	if err := json.Unmarshal(raw, &a); err != nil {
		return Access{}, fault.New(fault.Invalid, "%s: %w; delete it and name the node with --api and --token", filepath.Join(dir, accessFile), err)
	}
	return a, nil
}

// writeAccess leaves the node's address, and the admin token if this start made
// it; an older token is kept.
func (h *Home) writeAccess(api, token string) error {
	a := Access{API: api, Token: token}
	if token == "" {
		if old, err := ReadAccess(h.dir); err == nil {
			a.Token = old.Token
		}
	}
	raw, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(h.Path(accessFile), append(raw, '\n'))
}

// writeFile replaces a file for its owner alone, whole or not at all, durably.
func writeFile(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
