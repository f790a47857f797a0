package indexdag

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/firth-project/firth/base/fault"
)

// maxKeyFile is far above any key libp2p knows (RSA-8192 takes 5 KB).
const maxKeyFile = 64 << 10

// Key signs the records of one IPNS name. Who loses it can never publish under
// the name again.
type Key struct {
	private crypto.PrivKey
	name    ipns.Name
}

// OpenKey reads a key from a file that holds libp2p's protobuf form of it, and
// makes an Ed25519 key in a new file of mode 0600 when there is none. A file
// that is no key is Invalid.
func OpenKey(file string) (Key, error) {
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(file); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fault.Wrap(diskError(err), "make key file %s", file)
	}
	return readKey(file) // whoever made it
}

func readKey(file string) (Key, error) {
	f, err := os.Open(file)
	if err != nil {
		return Key{}, diskError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return Key{}, fault.Wrap(err, "read key file %s", file)
	}
	private, err := crypto.UnmarshalPrivateKey(data)
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "key file %s: %d bytes are not a libp2p private key (%w); restore it, or remove it to get a new name", file, len(data), err)
	}
	public, err := crypto.MarshalPublicKey(private.GetPublic())
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "key file %s: %w", file, err)
	}
	name, err := nameOfKey(public)
	return Key{private, name}, err
}

// makeKey writes a fresh key, complete or not at all; it never replaces one.
func makeKey(file string) (err error) {
	private, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return err
	}
	data, err := crypto.MarshalPrivateKey(private)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".name-key-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Link(temp.Name(), file) // unlike a rename it fails when the name is taken
}

// Name returns the IPNS name of the key: k51….
func (k Key) Name() string { return k.name.String() }

// Record signs that the name is this index until expires (IPNS specification,
// signatures of both versions). Of two records the one of the higher sequence
// counts; readers may keep it for as long as cache.
func (k Key) Record(root cid.Cid, sequence uint64, expires time.Time, cache time.Duration) ([]byte, error) {
	r, err := ipns.NewRecord(k.private, path.FromCid(root), sequence, expires.UTC(), cache)
	if err != nil {
		return nil, fault.Wrap(err, "sign that %s is %s", k.name, root)
	}
	data, err := ipns.MarshalRecord(r)
	return data, fault.Wrap(err, "sign that %s is %s", k.name, root)
}

// Record is an IPNS record that was checked.
type Record struct {
	Path     string // /ipfs/… or /ipns/…
	Sequence uint64
	Expires  time.Time
}

// VerifyRecord checks that a record was signed by the key of a name (k51…, or a
// peer id) and has not expired. Anything else is Invalid.
func VerifyRecord(name string, record []byte) (Record, error) {
	n, err := ipns.NameFromString(name)
	if err != nil {
		return Record{}, fault.New(fault.Invalid, "%.80q: is no IPNS name: %w", name, err)
	}
	if len(record) > maxRecord {
		return Record{}, fault.New(fault.Invalid, "record of %s: %d bytes, limit %d", name, len(record), maxRecord)
	}
	r, err := ipns.UnmarshalRecord(record)
	if err == nil {
		err = ipns.ValidateWithName(r, n)
	}
	if err != nil {
		return Record{}, fault.New(fault.Invalid, "record of %s: %w", name, err)
	}
	value, err := r.Value()
	sequence, err2 := r.Sequence()
	expires, err3 := r.Validity()
	if err := errors.Join(err, err2, err3); err != nil {
		return Record{}, fault.New(fault.Invalid, "record of %s: %w", name, err)
	}
	return Record{value.String(), sequence, expires}, nil
}

// DNSLink returns the line to put into the zone of a domain so that its name
// leads to a path such as /ipfs/<index> or /ipns/<name> (dnslink.dev).
func DNSLink(domain, path string) string {
	return "_dnslink." + domain + `. 300 IN TXT "dnslink=` + path + `"`
}
