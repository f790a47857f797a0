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
)

// serving compares one stream of a piece from `firth serve` with the same bytes
// sent from a file by net/http, which has the kernel send them.
func serving() []contest {
	return []contest{{name: "serve", title: "a piece of 512 MiB to one client; the server's cost", unit: "MiB", per: mib, data: oneLarge, subjects: []subject{
		{name: "net/http, sendfile", serve: plainServer},
		{name: "firth, CAR on disk", serve: func(at places) (servant, error) { return pieceServer(at, "--out", filepath.Join(at.own, "out")) }},
		{name: "firth, inline, every leaf hashed", serve: func(at places) (servant, error) { return pieceServer(at) }},
	}}}
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

// plainServer serves the folder of the contest's data.
func plainServer(at places) (servant, error) {
	self, err := os.Executable()
	if err != nil {
		return servant{}, err
	}
	address := filepath.Join(at.own, "address")
	s, err := start(exec.Command(self, "--child", "files", "--data", at.data, "--dir", address))
	if err != nil {
		return servant{}, err
	}
	where, err := written(address)
	s.url = "http://" + string(where) + "/large"
	return s, err
}

// serveFiles is what plainServer starts: it serves a folder until it is killed.
func serveFiles(folder, address string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(address, []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	return http.Serve(l, http.FileServer(http.Dir(folder)))
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
