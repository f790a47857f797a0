package wallet

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/firth-project/firth/base/chain"
	"github.com/firth-project/firth/base/fault"
)

// Keystore is a directory of encrypted keys, decrypted once when it is opened
// and held in memory from then on, so that a signature costs no key
// derivation. Its methods may be called from any number of goroutines. Another
// process may add keys to the directory and remove them: List and a search for
// a key that is not held yet see it.
//
// The directory holds identity.age, an age identity encrypted with the secret
// (scrypt), and for each key a file encrypted to that identity. Their names
// tell neither keys nor addresses, their modes are 0600, and every write is
// atomic and durable on return.
type Keystore struct {
	dir  string
	seal *seal

	mu   sync.RWMutex
	keys map[address.Address]Key
}

// OpenKeystore opens the keystore in dir with the secret, making both on first
// use. A wrong secret is fault.Forbidden; an empty one, or files that are no
// keystore, fault.Invalid. It takes some 0.2 s and 64 MiB, on purpose: that is
// what each guess at the secret costs.
func OpenKeystore(dir string, secret []byte) (*Keystore, error) {
	return openKeystore(dir, secret, workFactor)
}

func openKeystore(dir string, secret []byte, work int) (*Keystore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, "open keystore")
	}
	s, err := openSeal(dir, secret, work)
	if err != nil {
		return nil, fault.Wrap(err, "open keystore %s", dir)
	}
	ks := &Keystore{dir: dir, seal: s, keys: make(map[address.Address]Key)}
	if err := ks.load(); err != nil {
		return nil, fault.Wrap(err, "open keystore %s", dir)
	}
	return ks, nil
}

// load decrypts every key and sweeps what an interrupted write left behind.
func (ks *Keystore) load() error {
	entries, err := os.ReadDir(ks.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(ks.dir, e.Name())
		switch {
		case isTemporary(e.Name()):
			if err := os.Remove(path); err != nil {
				return err
			}
		case isKeyFile(e.Name()):
			k, err := ks.read(e.Name())
			if err != nil {
				return err
			}
			ks.keys[k.addr] = k
		}
	}
	return nil
}

// read decrypts one key.
func (ks *Keystore) read(name string) (Key, error) {
	text, err := ks.seal.read(filepath.Join(ks.dir, name))
	if err != nil {
		return Key{}, err
	}
	k, err := Import(text)
	if err != nil {
		return Key{}, fault.Wrap(err, "%s", name)
	}
	if want := ks.seal.name(k.addr); name != want {
		return Key{}, fault.New(fault.Invalid, "%s holds the key of %s, whose file is %s", name, FormatAddress(k.addr), want)
	}
	return k, nil
}

// follow takes up what another process added to the directory and forgets what
// it removed. A file that cannot be read is as if it were not there: what was
// sound when it was opened is not stopped by it.
func (ks *Keystore) follow() {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	entries, err := os.ReadDir(ks.dir)
	if err != nil {
		return
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = isKeyFile(e.Name())
	}
	for a := range ks.keys {
		name := ks.seal.name(a)
		if !there[name] {
			delete(ks.keys, a)
		}
		delete(there, name)
	}
	for name, isKey := range there {
		if !isKey {
			continue
		}
		if k, err := ks.read(name); err == nil {
			ks.keys[k.addr] = k
		}
	}
}

// Add stores a key. A key that is there already stays.
func (ks *Keystore) Add(k Key) error {
	if k.addr == address.Undef {
		return fault.New(fault.Invalid, "add to keystore: the key is empty")
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if _, ok := ks.keys[k.addr]; ok {
		return nil
	}
	if err := ks.seal.write(ks.path(k.addr), k.Export()); err != nil {
		return fault.Wrap(err, "add %s to keystore", FormatAddress(k.addr))
	}
	ks.keys[k.addr] = k
	return nil
}

func (ks *Keystore) path(a address.Address) string { return filepath.Join(ks.dir, ks.seal.name(a)) }

// List returns the addresses that can sign, in the order of their bytes.
func (ks *Keystore) List() []address.Address {
	ks.follow()
	ks.mu.RLock()
	defer ks.mu.RUnlock()
	out := make([]address.Address, 0, len(ks.keys))
	for a := range ks.keys {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b address.Address) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	return out
}

// Export returns a key as Key.Export does; fault.NotFound when it is not here.
func (ks *Keystore) Export(a address.Address) ([]byte, error) {
	k, err := ks.key(a)
	if err != nil {
		return nil, err
	}
	return k.Export(), nil
}

// Remove deletes a key for good; fault.NotFound when it is not here.
func (ks *Keystore) Remove(a address.Address) error {
	if _, err := ks.key(a); err != nil {
		return err
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if err := remove(ks.path(a)); err != nil {
		return fault.Wrap(err, "remove %s from keystore", FormatAddress(a))
	}
	delete(ks.keys, a)
	return nil
}

// Sign signs msg as Key.Sign does; fault.NotFound when the key is not here.
func (ks *Keystore) Sign(ctx context.Context, a address.Address, msg []byte) (crypto.Signature, error) {
	if err := ctx.Err(); err != nil {
		return crypto.Signature{}, err
	}
	k, err := ks.key(a)
	if err != nil {
		return crypto.Signature{}, err
	}
	return k.Sign(msg)
}

// SignMessage signs a chain message as its sender, of any kind (SignEthMessage);
// fault.NotFound when the sender's key is not here.
func (ks *Keystore) SignMessage(ctx context.Context, m chain.Message, ethChainID uint64) (chain.SignedMessage, error) {
	if err := ctx.Err(); err != nil {
		return chain.SignedMessage{}, err
	}
	k, err := ks.key(m.From)
	if err != nil {
		return chain.SignedMessage{}, err
	}
	return SignEthMessage(k, m, ethChainID)
}

func (ks *Keystore) key(a address.Address) (Key, error) {
	held := func() (Key, bool) {
		ks.mu.RLock()
		defer ks.mu.RUnlock()
		k, ok := ks.keys[a]
		return k, ok
	}
	k, ok := held()
	if !ok {
		ks.follow()
		k, ok = held()
	}
	if !ok {
		return Key{}, fault.New(fault.NotFound, "keystore: no key for %s; import it first", FormatAddress(a))
	}
	return k, nil
}
