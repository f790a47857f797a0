package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firth-project/firth/client"
)

// The first token exists in one place only. A first start that cannot write it
// there, for whatever reason, must not have used it up.
func TestFirstTokenIsNotLost(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 1)
	d := newNode(t, "the node", n)
	inTheWay := filepath.Join(d.home, "client.json")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if o := command(t, d.env, "", d.args...); o.code == 0 || !strings.Contains(o.err, "client.json") {
		t.Fatalf("exit %d\n%s%s", o.code, o.out, o.err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	if _, err := d.client(t).AddFile(t.Context(), "first", strings.NewReader("first"), client.AddOptions{}); err != nil {
		t.Error(err)
	}
	d.stop(t)
}
