package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firth-project/firth/base/indexdag/routertest"
)

// patience is how long a script waits for what must happen.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"firth": main, "router": router})
}

// router is a program that keeps IPNS records, and prints where it does.
func router() {
	server := httptest.NewServer(routertest.New())
	fmt.Printf("{\"url\":%q}\n", server.URL)
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt)
	<-stopped
	server.Close()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Values[processes] = map[string]*running{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  scriptCode,
			"start": scriptStart,
			"stop":  scriptStop,
			"until": scriptUntil,
			"field": scriptField,
			"host":  scriptHost,
			"zeros": scriptZeros,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "superuser" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// scriptCode runs a command that must exit with a code: code 3 firth show 7.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// running is a command that a script started.
type running struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan error
}

// processes is the key under which a script keeps what it started.
const processes = "processes"

// scriptStart starts a command that prints a line when it is ready, and keeps
// the line in a file: start node.json firth serve --json.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start FILE COMMAND…")
	}
	path, err := findCommand(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	r := &running{cmd: exec.Command(path, args[2:]...), done: make(chan error, 1)}
	r.cmd.Dir, r.cmd.Stderr = ts.MkAbs("."), &r.log
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "FIRTH_DEAL_INTERVAL"} {
		if value := ts.Getenv(name); value != "" {
			r.cmd.Env = append(r.cmd.Env, name+"="+value)
		}
	}
	out, err := r.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	started(ts)[args[0]] = r
	ts.Defer(func() { _ = r.end(os.Kill) })

	first := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(out)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, lines)
		r.done <- r.cmd.Wait()
	}()
	select {
	case line := <-first:
		if line == "" {
			err := <-r.done
			r.done <- err
			ts.Fatalf("%s ended (%v) before it was ready:\n%s", args[1], err, r.log.String())
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(line), 0o600))
	case <-time.After(patience):
		ts.Fatalf("%s was not ready in %s", strings.Join(args[1:], " "), patience)
	}
}

func started(ts *testscript.TestScript) map[string]*running {
	all, _ := ts.Value(processes).(map[string]*running)
	return all
}

// end signals a process and waits for it.
func (r *running) end(with os.Signal) error {
	if err := r.cmd.Process.Signal(with); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("did not end in %s", patience), r.cmd.Process.Kill())
	}
}

// scriptStop interrupts what start started; it must end well.
func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stop FILE")
	}
	r := started(ts)[args[0]]
	if err := r.end(os.Interrupt); err != nil {
		ts.Fatalf("%s: %v\n%s", args[0], err, r.log.String())
	}
}

// scriptUntil repeats a command until its output matches: until '"active"' firth deal ls.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if err := ts.Exec(args[1], args[2:]...); err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("no %q in %s:\n%s%s", args[0], patience, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// scriptField sets a variable to a value of a JSON file: field RPC net.json rpc.
func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: field VARIABLE FILE KEY…")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for _, key := range args[2:] {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(at) {
				ts.Fatalf("no %s in %s", key, ts.ReadFile(args[1]))
			}
			v = at[i]
		}
	}
	if v == nil {
		ts.Fatalf("no %s in %s", strings.Join(args[2:], "."), ts.ReadFile(args[1]))
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// scriptHost sets a variable to the host and port of a URL: host HOST $API.
func scriptHost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: host VARIABLE URL")
	}
	u, err := url.Parse(args[1])
	ts.Check(err)
	ts.Setenv(args[0], u.Host)
}

// scriptZeros writes a file of zeros: zeros 1048576 FILE.
func scriptZeros(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: zeros BYTES FILE")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), make([]byte, n), 0o600))
}

// findCommand is exec.LookPath in the script's own PATH.
func findCommand(path, name string) (string, error) {
	for dir := range strings.SplitSeq(path, string(os.PathListSeparator)) {
		if p, err := exec.LookPath(dir + "/" + name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("no command %s in %s", name, path)
}
