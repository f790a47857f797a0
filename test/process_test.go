package test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is where the firth under test was built to.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "firth-test-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "firth")
		build := exec.Command("go", "build", "-ldflags=-w", "-o", binary, "../cmd/firth") // no DWARF: it links faster
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build firth: %v\n%s", err, out)
			return 1
		}
		flag.Parse()
		if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
			_ = f.Value.Set("6") // scenarios wait more than they work
		}
		return m.Run()
	}())
}

// account keeps the end of what processes say, for the failure that may need it.
type account struct {
	mu   sync.Mutex
	text []byte
}

const accountLimit = 256 << 10

func (a *account) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = append(a.text, b...)
	if over := len(a.text) - accountLimit; over > 0 {
		a.text = append(a.text[:0], a.text[over:]...)
	}
	return len(b), nil
}

func (a *account) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.text)
}

// newAccount makes an account that is told if the test fails.
func newAccount(t *testing.T, name string) *account {
	a := &account{}
	t.Cleanup(func() {
		if t.Failed() {
			text := a.String()
			t.Logf("what %s said last:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return a
}

// environment is that of a person who never configured anything, and settings.
func environment(settings ...string) []string {
	env := []string{}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FIRTH_") {
			env = append(env, kv)
		}
	}
	return append(env, settings...)
}

// process is one running firth.
type process struct {
	cmd   *exec.Cmd
	line  string        // its first line on standard output, "" when it ended without
	ready chan struct{} // closed when line is known
	done  chan struct{} // closed when it has ended
}

// launch starts firth. Whatever it was told, it does not outlive the test.
func launch(t *testing.T, log *account, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), ready: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Env = environment(env...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = mortal()
	p.cmd.WaitDelay = time.Second
	out, w := io.Pipe()
	p.cmd.Stdout = w
	fmt.Fprintf(log, "--- firth %s\n", strings.Join(args, " "))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		if lines.Scan() {
			p.line = lines.Text()
		}
		close(p.ready)
		_, _ = io.Copy(io.Discard, out) // ends with the process
	}()
	go func() {
		_ = p.cmd.Wait() // the code is in ProcessState
		w.Close()
		fmt.Fprintf(log, "--- ended: %s\n", p.cmd.ProcessState)
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// terminate asks the process to end.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// code waits for the end and returns the exit code.
func (p *process) code(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
		<-p.done
		t.Fatalf("the process had not ended after %s", limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// outcome is what a command that ends by itself left.
type outcome struct {
	out, err string
	code     int
}

// command runs firth to its end.
func command(t *testing.T, env []string, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = environment(env...)
	cmd.SysProcAttr = mortal()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("firth %s: %v\n%s%s", strings.Join(args, " "), errors.Join(err, ctx.Err()), &out, &errs)
	}
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// succeed runs firth to its end and returns what it printed.
func succeed(t *testing.T, env []string, stdin string, args ...string) string {
	t.Helper()
	o := command(t, env, stdin, args...)
	if o.code != 0 {
		t.Fatalf("firth %s: exit %d\n%s%s", strings.Join(args, " "), o.code, o.out, o.err)
	}
	return o.out
}

// await asks until ask says "", and fails with its last answer when that takes
// longer than limit.
func await(t *testing.T, limit time.Duration, what string, ask func() (lacks string)) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		lacks := ask()
		if lacks == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s: %s", what, limit, lacks)
		}
	}
}
