package indexdag

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/firth-project/firth/base/fault"
)

// maxNames is how many names may lead to one another.
const maxNames = 8

// TXT looks up TXT records; *net.Resolver does.
type TXT interface {
	LookupTXT(ctx context.Context, domain string) ([]string, error)
}

// Resolve returns the index and the path in it that a reference means:
//
//	<index CID>[/path]  /ipfs/<index CID>[/path]  ipfs://<index CID>[/path]
//	<domain>[/path]     /ipns/<domain or name>[/path]  ipns://<domain or name>[/path]
//
// A domain leads on by the DNSLink that dns gives, a name (k51…, or a peer id)
// by the newest record that any of the places has. A reference that is none of
// these is Invalid, a name that leads nowhere NotFound.
func Resolve(ctx context.Context, places []Place, dns TXT, ref string) (cid.Cid, string, error) {
	at, rest := ref, ""
	for range maxNames {
		kind, name, below := splitRef(at)
		rest = join(below, rest)
		if c, err := cid.Decode(name); err == nil && c.Type() != cid.Libp2pKey {
			if kind == "ipns" {
				return cid.Undef, "", fault.New(fault.Invalid, "%.200q: %s is no name; write /ipfs/ before an index", ref, c)
			}
			return c, rest, nil
		}
		if kind == "ipfs" {
			return cid.Undef, "", fault.New(fault.Invalid, "%.200q: %.80q is no CID", ref, name)
		}
		var err error
		if _, no := ipns.NameFromString(name); no == nil {
			at, err = newest(ctx, places, name)
		} else if strings.Contains(name, ".") {
			at, err = dnsLink(ctx, dns, name)
		} else {
			err = fault.New(fault.Invalid, "%.80q: is neither the CID of an index, a domain, nor an IPNS name", name)
		}
		if err != nil {
			return cid.Undef, "", fault.Wrap(err, "resolve %.200q", ref)
		}
	}
	return cid.Undef, "", fault.New(fault.Invalid, "resolve %.200q: more than %d names lead to one another", ref, maxNames)
}

// splitRef cuts a reference into its namespace, which may be open, its first
// name and the path below.
func splitRef(ref string) (kind, name, below string) {
	for _, k := range []string{"ipfs", "ipns"} {
		for _, prefix := range []string{"/" + k + "/", k + "://"} {
			if rest, ok := strings.CutPrefix(ref, prefix); ok {
				kind, ref = k, rest
			}
		}
	}
	name, below, _ = strings.Cut(ref, "/")
	return kind, name, below
}

func join(a, b string) string {
	return strings.Trim(strings.Trim(a, "/")+"/"+strings.Trim(b, "/"), "/")
}

// newest returns the path of the record with the highest sequence.
func newest(ctx context.Context, places []Place, name string) (string, error) {
	var best Record
	kind, texts := fault.NotFound, []string{}
	for _, p := range places {
		data, err := p.Record(ctx, name)
		var r Record
		if err == nil {
			r, err = VerifyRecord(name, data)
		}
		if err != nil {
			if !fault.Is(err, fault.NotFound) {
				kind = fault.Unavailable
			}
			texts = append(texts, fmt.Sprintf("%s: %v", p, err))
			continue
		}
		if best.Path == "" || r.Sequence > best.Sequence || r.Sequence == best.Sequence && r.Expires.After(best.Expires) {
			best = r
		}
	}
	if best.Path == "" {
		return "", fault.New(kind, "no record of %s: %s", name, strings.Join(texts, "; "))
	}
	return best.Path, nil
}

// dnsLink returns what a domain's DNSLink says. Of several the first in their
// order counts, as the specification has it.
func dnsLink(ctx context.Context, dns TXT, domain string) (string, error) {
	texts, err := dns.LookupTXT(ctx, "_dnslink."+domain)
	var d *net.DNSError
	if errors.As(err, &d) && d.IsNotFound {
		return "", fault.New(fault.NotFound, "no TXT record of _dnslink.%s", domain)
	}
	if err != nil {
		return "", fault.New(fault.Unavailable, "%w", err)
	}
	slices.Sort(texts)
	for _, t := range texts {
		if path, ok := strings.CutPrefix(t, "dnslink="); ok && (strings.HasPrefix(path, "/ipfs/") || strings.HasPrefix(path, "/ipns/")) {
			return strings.TrimSpace(path), nil
		}
	}
	return "", fault.New(fault.NotFound, "no TXT record of _dnslink.%s begins with dnslink=/ipfs/ or dnslink=/ipns/", domain)
}

// nameOfKey is the name of a public key in libp2p's protobuf form: its
// identity multihash when short, else its SHA2-256 (peer id specification).
func nameOfKey(public []byte) (ipns.Name, error) {
	code := uint64(mh.SHA2_256)
	if len(public) <= 42 {
		code = mh.IDENTITY
	}
	hash, err := mh.Sum(public, code, -1)
	if err != nil {
		return ipns.Name{}, fault.Wrap(err, "name a key")
	}
	return ipns.NameFromCid(cid.NewCidV1(cid.Libp2pKey, hash))
}
