package source_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/webdav"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// sftpServer serves a folder to user "me" with password "secret"; it returns
// its address and host key, as a source wants it.
func sftpServer(t *testing.T, root string) (addr, hostKey string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, pass []byte) (*ssh.Permissions, error) {
		if c.User() != "me" || string(pass) != "secret" {
			return nil, fmt.Errorf("who is %s", c.User())
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveSFTP(c, config, root)
		}
	}()
	return l.Addr().String(), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func serveSFTP(c net.Conn, config *ssh.ServerConfig, root string) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, asked, err := wanted.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range asked {
				r.Reply(r.Type == "subsystem", nil)
			}
		}()
		go func() {
			defer channel.Close()
			server, err := sftp.NewServer(channel, sftp.WithServerWorkingDirectory(root), sftp.ReadOnly())
			if err == nil {
				_ = server.Serve()
			}
		}()
	}
}

func TestSFTP(t *testing.T) {
	root := t.TempDir()
	big := pattern(2 << 20)
	plant(t, root, map[string]string{"data/a-b": "dash", "data/a/b": "bee", "data/a.txt": "", "data/big": string(big), "data/sp ace/ü:*?": "odd", "data/．": "wide", "data/empty/": ""})
	for name, target := range map[string]string{"link": "a.txt", "circle": "."} {
		if err := os.Symlink(target, filepath.Join(root, "data", name)); err != nil {
			t.Fatal(err)
		}
	}
	addr, key := sftpServer(t, root)
	options := quick("pass", "secret", "host_keys", key)
	url := "sftp://me@" + addr + root + "/data"
	s := open(t, url, options)
	items := walk(t, s, "", source.Filter{})
	want := []string{"a-b", "a.txt", "a/", "a/b", "big", "circle", "empty/", "link", "sp ace/", "sp ace/ü:*?", "．"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	for _, i := range items {
		switch {
		case i.Kind == source.KindSymlink:
			if i.Unreadable == "" {
				t.Errorf("%+v", i)
			}
		case i.Kind == source.KindFile:
			body, _ := os.ReadFile(filepath.Join(root, "data", i.Path))
			if got := readAll(t, s, i); !bytes.Equal(got, body) {
				t.Errorf("%q: %d bytes", i.Path, len(got))
			}
		}
	}
	resumes(t, s)
	f, err := s.Open(t.Context(), "big", "")
	if err != nil {
		t.Fatal(err)
	}
	readsAnywhere(t, f, big)
	if err := os.WriteFile(filepath.Join(root, "data", "big"), big[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a file that changed: %v", err)
	}
	f.Close()
	one := open(t, url+"/a/b", options)
	if got := walk(t, one, "", source.Filter{}); len(got) != 1 || string(readAll(t, one, got[0])) != "bee" {
		t.Errorf("one file: %v", got)
	}

	_, stranger := sftpServer(t, root)
	for name, tt := range map[string]struct {
		url     string
		options map[string]string
		kind    fault.Kind
	}{
		"no host key":    {url, quick("pass", "secret"), fault.Invalid},
		"other host key": {url, quick("pass", "secret", "host_keys", stranger, "retries", "0"), fault.Forbidden},
		"other password": {url, quick("pass", "guess", "host_keys", key, "retries", "0"), fault.Forbidden},
		"no password":    {url, quick("host_keys", key), fault.Invalid},
		"a program":      {url, quick("ssh", "touch /tmp/x"), fault.Invalid},
		"gone":           {url + "/none", options, fault.NotFound},
		"nobody there":   {"sftp://me@127.0.0.1:1/", quick("pass", "secret", "host_keys", key, "retries", "0"), fault.Unavailable},
	} {
		if _, err := source.Open(t.Context(), source.Spec{URL: tt.url, Options: tt.options}); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: tells the password: %v", name, err)
		}
	}
}

func TestWebDAV(t *testing.T) {
	root := t.TempDir()
	big := pattern(2 << 20)
	plant(t, root, map[string]string{"data/a-b": "dash", "data/a/b": "bee", "data/a.txt": "", "data/big": string(big), "data/sp ace/ü+%41": "odd", "data/empty/": ""})
	server := httptest.NewServer(&webdav.Handler{Prefix: "/dav", FileSystem: webdav.Dir(root), LockSystem: webdav.NewMemLS()})
	defer server.Close()
	url := "webdav+" + server.URL + "/dav/data"
	s := open(t, url, quick())
	items := walk(t, s, "", source.Filter{})
	want := []string{"a-b", "a.txt", "a/", "a/b", "big", "empty/", "sp ace/", "sp ace/ü+%41"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	for _, i := range items {
		if i.Kind == source.KindFile {
			body, _ := os.ReadFile(filepath.Join(root, "data", i.Path))
			if got := readAll(t, s, i); !bytes.Equal(got, body) {
				t.Errorf("%q: %d bytes", i.Path, len(got))
			}
		}
	}
	resumes(t, s)
	// By our own requests, and by rclone's where the server needs its ways in.
	for _, vendor := range []string{"other", "sharepoint-ntlm"} {
		v := open(t, url, quick("vendor", vendor))
		f, err := v.Open(t.Context(), "big", items[4].ID())
		if err != nil {
			t.Fatal(err)
		}
		readsAnywhere(t, f, big)
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
		f.Close()
		if got := readAll(t, v, items[4]); !bytes.Equal(got, big) {
			t.Errorf("%s: %d bytes", vendor, len(got))
		}
	}
	one := open(t, url+"/a/b", quick())
	if got := walk(t, one, "", source.Filter{}); len(got) != 1 || string(readAll(t, one, got[0])) != "bee" {
		t.Errorf("one file: %v", got)
	}
	if _, err := source.Open(t.Context(), source.Spec{URL: url + "/none", Options: quick()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("gone: %v", err)
	}
	f, err := s.Open(t.Context(), "a/b", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(filepath.Join(root, "data", "a", "b"), []byte("wasp"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a file that changed: %v", err)
	}
}
