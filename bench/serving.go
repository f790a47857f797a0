package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firth-project/firth/base/sha256x"
)

// serving compares one stream of a piece from `firth serve` with the same bytes
// sent from a file by net/http, which has the kernel send them. What serving
// inline is made of stands beside it: bytes that are read into memory and
// written from there, and their hash; nothing that hashes what it sends can cost
// less than both.
func serving() []contest {
	return []contest{{name: "serve", title: "a piece of 512 MiB to one client; the server's cost", unit: "MiB", per: mib, data: largeOnDisk, subjects: []subject{
		{name: "net/http, sendfile", serve: func(at places) (servant, error) { return plainServer(at, "files") }},
		{name: "read + write alone", serve: func(at places) (servant, error) { return plainServer(at, "copies") }},
		{name: "hash alone", work: hashAlone},
		{name: "firth, CAR on disk", serve: func(at places) (servant, error) { return pieceServer(at, "--out", filepath.Join(at.own, "out")) }},
		{name: "firth, inline, every leaf hashed", serve: func(at places) (servant, error) { return pieceServer(at) }},
	}}}
}

// largeOnDisk makes one large file that is on disk and not in memory: the pages
// of what was written just now are larger than of what was read, and sent for
// two thirds of the cost. A CAR is read, whoever sends it.
func largeOnDisk(dir string) error {
	if err := oneLarge(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "large"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// fetches is how often the client asks, so that the kernel's ticks, in which a
// process's time is counted, are fine enough.
const fetches = 8

// fetching makes the client's side: everything once to get warm, then again
// and again.
func (s servant) fetching(places) (func() (int64, error), error) {
	fetch := func() (int64, error) {
		res, err := http.Get(s.url)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s: %s", s.url, res.Status)
		}
		return io.Copy(io.Discard, res.Body)
	}
	_, err := fetch()
	return func() (int64, error) {
		var total int64
		for range fetches {
			n, err := fetch()
			if err != nil {
				return total, err
			}
			total += n
		}
		return total, nil
	}, err
}

// hashAlone hashes as much as is fetched, leaves of 1 MiB that are in memory.
func hashAlone(places) (func() (int64, error), error) {
	leaves := cut(leavesAtOnce/mib, mib)
	return func() (int64, error) {
		sums := make([][32]byte, len(leaves))
		var n int64
		for ; n < fetches*largeBytes; n += leavesAtOnce {
			sha256x.Sum(sums, leaves)
		}
		return n, nil
	}, nil
}

// plainServer serves the folder of the contest's data, in one of the ways that
// serveFiles knows.
func plainServer(at places, way string) (servant, error) {
	self, err := os.Executable()
	if err != nil {
		return servant{}, err
	}
	address := filepath.Join(at.own, "address")
	s, err := start(exec.Command(self, "--child", way, "--data", at.data, "--dir", address))
	if err != nil {
		return servant{}, err
	}
	where, err := written(address)
	s.url = "http://" + string(where) + "/large"
	return s, err
}

// serveFiles is what plainServer starts: it serves a folder until it is killed,
// as net/http does it, or with every byte read and written as it is for hashing.
func serveFiles(way, folder, address string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(address, []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	if way == "copies" {
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := copied(w, filepath.Join(folder, filepath.Base(r.URL.Path))); err != nil {
				panic(http.ErrAbortHandler)
			}
		}))
	}
	return http.Serve(l, http.FileServer(http.Dir(folder)))
}

// copied sends a file from memory: 16 leaves of 1 MiB are read, then written
// 256 KiB at a time.
func copied(w http.ResponseWriter, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Length", fmt.Sprint(int64(largeBytes)))
	window := make([]byte, leavesAtOnce)
	for off := int64(0); off < largeBytes; off += leavesAtOnce {
		for leaf := int64(0); leaf < leavesAtOnce; leaf += mib {
			if _, err := f.ReadAt(window[leaf:leaf+mib], off+leaf); err != nil {
				return err
			}
		}
		for b := window; len(b) > 0; b = b[256<<10:] {
			if _, err := w.Write(b[:256<<10]); err != nil {
				return err
			}
		}
	}
	return nil
}

// pieceServer packs the contest's data into a home and serves that home.
func pieceServer(at places, pack ...string) (servant, error) {
	home := filepath.Join(at.own, "home")
	out, err := exec.Command(at.firth, append([]string{"pack", at.data, "--piece-size", "1GiB", "--json", "--home", home}, pack...)...).Output()
	if err != nil {
		return servant{}, fmt.Errorf("firth pack: %w", err)
	}
	var piece struct {
		CID string `json:"piece_cid"`
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&piece); err != nil {
		return servant{}, err
	}
	cmd := exec.Command(at.firth, "serve", "--home", home, "--listen", "127.0.0.1:0", "--roles", "api,gateway")
	cmd.Env = append(os.Environ(), "FIRTH_GATEWAY_ACCESS=public")
	s, err := start(cmd)
	if err != nil {
		return servant{}, err
	}
	access, err := written(filepath.Join(home, "client.json"))
	if err != nil {
		return s, err
	}
	var door struct{ API string }
	err = json.Unmarshal(access, &door)
	s.url = door.API + "/piece/" + piece.CID
	return s, err
}

func start(cmd *exec.Cmd) (servant, error) {
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		return servant{}, err
	}
	return servant{pid: cmd.Process.Pid, stop: func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}}, nil
}

// written waits for a file to have its content.
func written(path string) ([]byte, error) {
	late := time.After(30 * time.Second)
	for look := time.NewTicker(20 * time.Millisecond); ; {
		text, err := os.ReadFile(path)
		if err == nil && len(text) > 0 {
			look.Stop()
			return text, nil
		}
		select {
		case <-look.C:
		case <-late:
			return nil, fmt.Errorf("nothing was written to %s", path)
		}
	}
}
