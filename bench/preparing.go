package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	hashhash "github.com/filecoin-project/go-fil-commp-hashhash"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-unixfsnode/data/builder"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/blockstore"
	"github.com/ipld/go-ipld-prime"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	mh "github.com/multiformats/go-multihash"
)

const (
	largeBytes = 512 * mib
	smallFiles = 50_000
	smallBytes = 4096
)

// preparing compares the whole way from files to pieces: `firth pack` from its
// start to its end, against making a CAR with go-car as its `car create` does
// and streaming that CAR through go-fil-commp-hashhash.
func preparing() []contest {
	peer := subject{name: "car create + hashhash", work: createAndSum(largeBytes)}
	peerFiles := subject{name: "car create + hashhash", work: createAndSum(smallFiles)}
	return []contest{
		{name: "prepare-inline", title: "a file of 512 MiB to a piece, no CAR written", unit: "MiB", per: mib, data: oneLarge,
			subjects: []subject{{name: "firth pack", args: packing(largeBytes)}, peer}},
		{name: "prepare-car", title: "a file of 512 MiB to a piece and a CAR on disk", unit: "MiB", per: mib, data: oneLarge,
			subjects: []subject{{name: "firth pack --out", args: exporting(largeBytes)}, peer}},
		{name: "small-files", title: "50,000 files of 4 KiB scanned and packed, no CAR written", unit: "files", per: 1, data: manySmall,
			subjects: []subject{{name: "firth pack", args: packing(smallFiles)}, peerFiles}},
	}
}

func packing(amount int64) func(places) ([]string, int64) {
	return func(at places) ([]string, int64) {
		return []string{"pack", at.data, "--piece-size", "1GiB", "--json", "--home", filepath.Join(at.own, "home")}, amount
	}
}

func exporting(amount int64) func(places) ([]string, int64) {
	return func(at places) ([]string, int64) {
		args, n := packing(amount)(at)
		return append(args, "--out", filepath.Join(at.own, "out")), n
	}
}

func oneLarge(dir string) error {
	f, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		return err
	}
	// A little at a time: what this process holds would count as the memory of
	// those it starts.
	if _, err := io.CopyN(f, source(3), largeBytes); err != nil {
		return err
	}
	return f.Close()
}

func manySmall(dir string) error { return manyFiles(dir, smallFiles, smallBytes) }

// manyFiles makes n different files of a size, a thousand a folder.
func manyFiles(dir string, n, size int64) error {
	data, from := make([]byte, min(size, mib)), source(4)
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("%04d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		f, err := os.Create(filepath.Join(folder, fmt.Sprintf("%07d", i)))
		if err != nil {
			return err
		}
		for left := size; left > 0; left -= int64(len(data)) {
			if _, err := from.Read(data); err != nil {
				return err
			}
			if _, err := f.Write(data[:min(left, int64(len(data)))]); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// createAndSum makes a CARv1 of a folder, then its piece commitment.
func createAndSum(amount int64) work {
	return func(at places) (func() (int64, error), error) {
		path := filepath.Join(at.own, "peer.car")
		return func() (int64, error) {
			if err := create(path, at.data); err != nil {
				return 0, err
			}
			f, err := os.Open(path)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			sum := new(hashhash.Calc)
			if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, f, make([]byte, mib)); err != nil {
				return 0, err
			}
			_, _, err = sum.Digest()
			return amount, err
		}, nil
	}
}

// create writes the CAR of a folder as `car create --version 1` does.
func create(path, dir string) error {
	hash, err := mh.Sum(nil, mh.SHA2_256, -1)
	if err != nil {
		return err
	}
	proxy := cid.NewCidV1(cid.DagProtobuf, hash) // replaced when the root is known
	store, err := blockstore.OpenReadWrite(path, []cid.Cid{proxy}, car.UseWholeCIDs(false), blockstore.WriteAsCarV1(true))
	if err != nil {
		return err
	}
	links := cidlink.DefaultLinkSystem()
	links.TrustedStorage = true
	links.StorageWriteOpener = func(c ipld.LinkContext) (io.Writer, ipld.BlockWriteCommitter, error) {
		var buf bytes.Buffer
		return &buf, func(l ipld.Link) error {
			b, err := blocks.NewBlockWithCid(buf.Bytes(), l.(cidlink.Link).Cid)
			if err != nil {
				return err
			}
			return store.Put(c.Ctx, b)
		}, nil
	}
	links.StorageReadOpener = func(c ipld.LinkContext, l datamodel.Link) (io.Reader, error) {
		b, err := store.Get(c.Ctx, l.(cidlink.Link).Cid)
		if err != nil {
			return nil, err
		}
		return bytes.NewReader(b.RawData()), nil
	}
	root, _, err := builder.BuildUnixFSRecursive(dir, &links)
	if err != nil {
		return err
	}
	if err := store.Finalize(); err != nil {
		return err
	}
	return car.ReplaceRootsInFile(path, []cid.Cid{root.(cidlink.Link).Cid})
}
