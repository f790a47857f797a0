package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe with a name is read like any other, and nobody waits for its writer who
// was interrupted.
func TestCommPOfPipe(t *testing.T) {
	pipe, nobodys := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "pipe")
	for _, name := range []string{pipe, nobodys} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&commpCmd{File: nobodys}).Run(&call{ctx: ctx}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte("through a pipe"), 0) }()
	var out bytes.Buffer
	err := (&commpCmd{File: pipe}).Run(&call{ctx: t.Context(), stdio: stdio{out: &out, err: &out}})
	if err != nil || !strings.Contains(out.String(), "14 bytes") || <-written != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}
