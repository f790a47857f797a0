package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
)

// An upload under way when the node is asked to end is finished, kept and
// acknowledged; then the node ends well.
func TestStopDrainsUploads(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 1)
	d := newNode(t, "the node", n)
	d.start(t)
	c := d.client(t)
	body, feed := io.Pipe()
	type answer struct {
		content client.Content
		err     error
	}
	answered := make(chan answer, 1)
	go func() {
		content, err := c.AddFile(t.Context(), "slow", body, client.AddOptions{})
		answered <- answer{content, err}
	}()
	want := noise(7, 6<<20)
	if _, err := feed.Write(want[:3<<20]); err != nil {
		t.Fatal(err)
	}
	d.terminate(t)
	d.terminate(t) // as timeout(1) does
	await(t, 3*time.Minute, "the door closes", func() string {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			return ""
		}
		conn.Close()
		return "it still opens"
	})
	if _, err := feed.Write(want[3<<20:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	got := <-answered
	if got.err != nil || got.content.State != "stored" || got.content.Size != int64(len(want)) {
		t.Errorf("the upload ended as %+v, %v", got.content, got.err)
	}
	if code := d.code(t, 3*time.Minute); code != 0 {
		t.Errorf("exit %d", code)
	}
	d.start(t)
	car, err := d.client(t).ContentCAR(t.Context(), got.content.CID, "")
	if err != nil {
		t.Fatal(err)
	}
	defer car.Close()
	if back, err := unpack(t, car, got.content.CID); err != nil || string(back) != string(want) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	d.stop(t)
}

// A reader of the event log, who would stay for ever, does not hold the end up.
func TestStopLeavesReadersOfEvents(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 1)
	d := newNode(t, "the node", n)
	d.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := d.client(t)
	heard := make(chan struct{})
	go func() {
		first := true
		for range c.Events(ctx, 0, "") {
			if first {
				close(heard)
			}
			first = false
		}
	}()
	if _, err := c.AddFile(t.Context(), "news", strings.NewReader("news"), client.AddOptions{}); err != nil {
		t.Fatal(err)
	}
	<-heard
	d.terminate(t)
	if code := d.code(t, 9*time.Second); code != 0 { // open requests that do work have 10
		t.Errorf("exit %d", code)
	}
}

// What is in use is refused at the start, with words that help.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 1)
	d := newNode(t, "the node", n)
	d.start(t)
	elsewhere := "FIRTH_HOME=" + t.TempDir()
	unwritable := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(unwritable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		env  []string
		args []string
		code int
		says []string
	}{
		{"the home of another", d.env, []string{"serve", "--listen", "127.0.0.1:0"}, 4, []string{d.home, "another firth process", "--home"}},
		{"the port of another", []string{elsewhere}, []string{"serve", "--listen", d.addr}, 4, []string{d.addr, "in use"}},
		{"a home that is a file", nil, []string{"serve", "--home", unwritable, "--listen", "127.0.0.1:0"}, 2, []string{unwritable}},
		{"a role there is not", []string{elsewhere}, []string{"serve", "--roles", "api,baker"}, 2, []string{"baker", "packer"}},
		{"a database that is away", []string{elsewhere}, []string{"serve", "--database", "postgres://127.0.0.1:1/none"}, 7, []string{"127.0.0.1"}},
		{"a dealer nobody can reach", []string{elsewhere}, []string{"serve", "--roles", "dealer"}, 2, []string{"public_url"}},
	} {
		o := command(t, c.env, "", c.args...)
		if o.code != c.code || strings.Contains(o.err, "goroutine") {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.what, o.code, c.code, o.out, o.err)
		}
		for _, words := range c.says {
			if !strings.Contains(o.err, words) {
				t.Errorf("%s: %q is not said in\n%s", c.what, words, o.err)
			}
		}
	}
	if _, err := d.client(t).Health(t.Context()); err != nil {
		t.Errorf("the first node did not survive the others: %v", err)
	}
	d.stop(t)
	if o := command(t, d.env, "", "ls"); o.code != 7 || !strings.Contains(o.err, "firth serve") {
		t.Errorf("ls without a node: exit %d\n%s", o.code, o.err)
	}
	if o := command(t, append(d.env, fmt.Sprintf("FIRTH_API=http://%s", d.addr), "FIRTH_TOKEN=firth_wrong"), "", "ls"); o.code != 7 {
		t.Errorf("ls of a node that is away: exit %d\n%s", o.code, o.err)
	}
}
