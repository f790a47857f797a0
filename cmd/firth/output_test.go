package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// brokenAfter takes some bytes and then fails.
type brokenAfter struct {
	room int
	err  error
}

func (b *brokenAfter) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, b.err
	}
	return len(p), nil
}

// A trial whose output nobody reads ends, quietly, and puts its home away.
func TestOutputLost(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
		says string
	}{
		{syscall.EPIPE, 141, ""},
		{errors.New("no room for more words"), 1, "firth: no room for more words\n"},
	} {
		temp := t.TempDir()
		t.Setenv("TMPDIR", temp)
		var said bytes.Buffer
		code := run(context.Background(), []string{"try", "output_test.go"}, nil,
			stdio{strings.NewReader(""), &brokenAfter{100, test.err}, &said})
		if code != test.code || said.String() != test.says {
			t.Errorf("%v: exit %d, said %q", test.err, code, said.String())
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%v: left %v, %v", test.err, left, err)
		}
	}
}
