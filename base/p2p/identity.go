package p2p

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/firth-project/firth/base/fault"
)

// maxKeyFile is far above any key libp2p knows (RSA-8192 takes 5 KB).
const maxKeyFile = 64 << 10

// identity returns the host's private key: the one in file, which is created
// with a fresh Ed25519 key when it does not exist, or a fresh one that nobody
// keeps when file is "". The file holds libp2p's protobuf form of the key.
func identity(file string, log *slog.Logger) (crypto.PrivKey, error) {
	if file == "" {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		return key, fault.Wrap(err, "generate peer key")
	}
	key, err := loadKey(file, log)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(err, "create peer key file %s", file)
	}
	// Read back rather than kept: when two processes start at once both end
	// with the key that won.
	return loadKey(file, log)
}

// loadKey reads a key file. The error of a file that is not there satisfies
// fs.ErrNotExist.
func loadKey(file string, log *slog.Logger) (crypto.PrivKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Wrap(err, "open peer key file")
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("peer key file is readable by others", "file", file, "mode", info.Mode().Perm().String())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fault.Wrap(err, "read peer key file %s", file)
	}
	key, err := crypto.UnmarshalPrivateKey(data)
	if err != nil {
		return nil, fault.New(fault.Invalid,
			"peer key file %s: %d bytes are not a libp2p private key (%w); restore it, or remove it to get a new peer id", file, len(data), err)
	}
	return key, nil
}

// createKey writes a fresh key to file, complete and durable or not at all. It
// never replaces: the error satisfies fs.ErrExist when file is there already.
func createKey(file string) error {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	data, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := writeTemp(dir, data)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	// A link, unlike a rename, fails when the name is taken.
	if err := os.Link(temp, file); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeTemp writes data to a new file of mode 0600 in dir and syncs it.
func writeTemp(dir string, data []byte) (name string, err error) {
	f, err := os.CreateTemp(dir, ".peer-key-*")
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
