package wallet

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/filecoin-project/go-address"

	"github.com/firth-project/firth/base/fault"
)

const (
	identityFile = "identity.age"
	keyPrefix    = "key-"
	keySuffix    = ".age"
	tempPrefix   = ".tmp-"

	// workFactor is log2 of scrypt's cost: about 0.2 s and 64 MiB.
	workFactor = 16
	// maxWorkFactor bounds what a planted identity file can make Open spend: 1 GiB.
	maxWorkFactor = 20
	// maxFile bounds a file of the keystore, in bytes.
	maxFile = 64 << 10
)

// seal encrypts and decrypts the files of one keystore.
type seal struct{ identity *age.X25519Identity }

// openSeal unlocks the directory's identity, or makes one where there is none
// and no key depends on one that was lost.
func openSeal(dir string, secret []byte, work int) (*seal, error) {
	if len(secret) == 0 {
		return nil, fault.New(fault.Invalid, "the secret is empty")
	}
	path := filepath.Join(dir, identityFile)
	s, err := unlock(path, secret)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return isKeyFile(e.Name()) }) {
		return nil, fault.New(fault.Invalid, "%s is gone but keys here need it: restore it from a backup", identityFile)
	}
	if err := create(path, secret, work); err != nil {
		return nil, err
	}
	return unlock(path, secret)
}

func unlock(path string, secret []byte) (*seal, error) {
	lock, err := age.NewScryptIdentity(string(secret))
	if err != nil {
		return nil, fault.Mark(fault.Invalid, err)
	}
	lock.SetMaxWorkFactor(maxWorkFactor)
	text, err := decrypt(path, lock)
	if err != nil {
		return nil, err
	}
	identity, err := age.ParseX25519Identity(string(text))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s holds no age identity", identityFile)
	}
	return &seal{identity}, nil
}

// create writes a new identity unless one appears meanwhile, which then holds.
func create(path string, secret []byte, work int) error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	lock, err := age.NewScryptRecipient(string(secret))
	if err != nil {
		return fault.Mark(fault.Invalid, err)
	}
	lock.SetWorkFactor(work)
	err = encrypt(path, []byte(identity.String()), lock, os.Link)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// name returns the file name of an address's key: the same each time, so that a
// key has one file, and meaningless to whoever lacks the identity.
func (s *seal) name(a address.Address) string {
	mac := hmac.New(sha256.New, []byte(s.identity.String()))
	mac.Write(a.Bytes())
	return keyPrefix + hex.EncodeToString(mac.Sum(nil)[:16]) + keySuffix
}

func isKeyFile(name string) bool {
	return strings.HasPrefix(name, keyPrefix) && strings.HasSuffix(name, keySuffix)
}

func isTemporary(name string) bool { return strings.HasPrefix(name, tempPrefix) }

func (s *seal) read(path string) ([]byte, error) { return decrypt(path, s.identity) }

func (s *seal) write(path string, text []byte) error {
	return encrypt(path, text, s.identity.Recipient(), os.Rename)
}

func decrypt(path string, identity age.Identity) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := age.Decrypt(io.LimitReader(f, maxFile), identity)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, fault.New(fault.Forbidden, "%s does not open with this secret", filepath.Base(path))
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", filepath.Base(path), err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s is damaged: %w", filepath.Base(path), err)
	}
	return text, nil
}

// encrypt writes a file under a temporary name, syncs it and places it: the
// file is whole at its path or not there.
func encrypt(path string, text []byte, to age.Recipient, place func(from, to string) error) error {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix) // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already after a rename
	_, err = f.Write(sealed.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
