package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/firth-project/firth/client"
)

// node is one process of a node, and the next one on the same home.
type node struct {
	name string
	home string
	addr string // of its door, the same after every start
	args []string
	env  []string
	log  *account
	*process
}

// brisk is a pace at which nobody waits for a provider.
var brisk = []string{
	"FIRTH_DEAL_INTERVAL=200ms", "FIRTH_DEAL_BACKOFF=400ms", "FIRTH_CHAIN_FINALITY=5", "FIRTH_LOG_LEVEL=info",
}

// newNode prepares a node of the network; serve's flags and settings may follow.
func newNode(t *testing.T, name string, n network, args ...string) *node {
	t.Helper()
	d := &node{name: name, home: t.TempDir(), addr: freeAddress(t), log: newAccount(t, name)}
	d.env = append([]string{"FIRTH_HOME=" + d.home}, brisk...)
	d.args = append([]string{"serve", "--json", "--listen", d.addr, "--rpc", n.RPC}, args...)
	return d
}

// freeAddress finds a port that nobody gets by chance while a node is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free from 20000 to 32000")
	return ""
}

// serving is the line that says that a node is ready.
type serving struct {
	API, Gateway, Token string
	Roles               []string
}

func (d *node) launch(t *testing.T) {
	t.Helper()
	d.process = launch(t, d.log, d.env, d.args...)
}

// up waits until the node says that it is ready.
func (d *node) up(t *testing.T) serving {
	t.Helper()
	select {
	case <-d.ready:
		var s serving
		if err := json.Unmarshal([]byte(d.line), &s); err != nil {
			t.Fatalf("%s: printed %q: %v", d.name, d.line, err)
		}
		return s
	case <-time.After(3 * time.Minute):
		t.Fatalf("%s: is not ready", d.name)
	}
	return serving{}
}

func (d *node) start(t *testing.T) serving {
	t.Helper()
	d.launch(t)
	return d.up(t)
}

// stop ends the node in order.
func (d *node) stop(t *testing.T) {
	t.Helper()
	d.terminate(t)
	if code := d.code(t, 3*time.Minute); code != 0 {
		t.Errorf("%s: exit %d after SIGTERM", d.name, code)
	}
}

// firth runs a command about this node and returns what it printed.
func (d *node) firth(t *testing.T, args ...string) string {
	t.Helper()
	return succeed(t, d.env, "", args...)
}

// client speaks to the node as its command line does.
func (d *node) client(t *testing.T) *client.Client {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(d.home, "client.json"))
	if err != nil {
		t.Fatal(err)
	}
	var access struct{ API, Token string }
	if err := json.Unmarshal(raw, &access); err != nil || access.API == "" || access.Token == "" {
		t.Fatalf("%s: client.json says %s (%v)", d.name, raw, err)
	}
	c, err := client.New(access.API, client.Options{Token: access.Token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// introduce gives the dealer a wallet and the node the network's providers.
func introduce(t *testing.T, n network, doors, dealer *node) {
	t.Helper()
	succeed(t, dealer.env, n.Wallets[0].Key, "wallet", "import")
	doors.firth(t, append([]string{"provider", "add"}, n.actors()...)...)
}

// keep declares a policy over everything and returns it.
func keep(t *testing.T, n network, d *node, copies int) client.Policy {
	t.Helper()
	return decode[client.Policy](t, d.firth(t, "policy", "new", "--json", "--copies", fmt.Sprint(copies), "--wallet", n.Wallets[0].Address,
		"--duration-epochs", "518400", "--start-delay-epochs", "100000"))
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// kept waits until a content has all its copies on Filecoin.
func kept(t *testing.T, c *client.Client, id int64, limit time.Duration) client.Content {
	t.Helper()
	var content client.Content
	await(t, limit, fmt.Sprintf("content %d on Filecoin", id), func() string {
		var err error
		if content, err = c.Content(t.Context(), fmt.Sprint(id)); err != nil {
			return err.Error()
		}
		if content.State != "stored_on_filecoin" {
			return fmt.Sprintf("is %s %s, %d of %d copies", content.State, content.Reason, content.Copies.Active, content.Copies.Wanted)
		}
		return ""
	})
	return content
}

// all drains a list.
func all[T any](t *testing.T, seq func(func(T, error) bool)) []T {
	t.Helper()
	var items []T
	var errs error
	seq(func(v T, err error) bool {
		errs = errors.Join(errs, err)
		items = append(items, v)
		return err == nil
	})
	if errs != nil {
		t.Fatal(errs)
	}
	return items
}
