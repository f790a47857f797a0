package indexdag

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/firth-project/firth/base/fault"
)

// Key signs the records of one IPNS name. Who loses it can never publish under
// the name again.
type Key struct {
	private crypto.PrivKey
	name    ipns.Name
}

// NewKey makes an Ed25519 key, of a name that nobody has.
func NewKey() (Key, error) {
	private, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return Key{}, fault.Wrap(err, "make a key")
	}
	return keyOf(private)
}

// ParseKey reads what Marshal gave, or any private key in libp2p's protobuf form
// (peer id specification). Anything else is Invalid.
func ParseKey(data []byte) (Key, error) {
	private, err := crypto.UnmarshalPrivateKey(data)
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "key: %d bytes are not a libp2p private key (%w)", len(data), err)
	}
	return keyOf(private)
}

func keyOf(private crypto.PrivKey) (Key, error) {
	public, err := crypto.MarshalPublicKey(private.GetPublic())
	if err != nil {
		return Key{}, fault.New(fault.Invalid, "key: %w", err)
	}
	name, err := nameOfKey(public)
	return Key{private, name}, err
}

// Marshal returns the key in libp2p's protobuf form, which must be kept secret.
func (k Key) Marshal() ([]byte, error) {
	data, err := crypto.MarshalPrivateKey(k.private)
	return data, fault.Wrap(err, "write the key of %s", k.name)
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
	Cache    time.Duration // how long readers may keep it; 0 is unsaid
}

// RecordType is the media type of an IPNS record (IPNS specification).
const RecordType = "application/vnd.ipfs.ipns-record"

// ParseName returns the name that text says in one of its forms (k51…, another
// CID of the key, a peer id) as k51…, the one that names are kept by. Anything
// else is Invalid.
func ParseName(text string) (string, error) {
	n, err := ipns.NameFromString(text)
	if err != nil {
		return "", fault.New(fault.Invalid, "%.80q: is no IPNS name: %w", text, err)
	}
	return n.String(), nil
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
	cache, err := r.TTL()
	if err != nil || cache < 0 {
		cache = 0
	}
	return Record{value.String(), sequence, expires, cache}, nil
}

// DNSLink returns the line to put into the zone of a domain so that its name
// leads to a path such as /ipfs/<index> or /ipns/<name> (dnslink.dev).
func DNSLink(domain, path string) string {
	return "_dnslink." + domain + `. 300 IN TXT "dnslink=` + path + `"`
}
