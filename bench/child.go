package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// cost is what a subject's work took.
type cost struct {
	Amount int64         `json:"amount"` // bytes, files: what the contest counts
	Wall   time.Duration `json:"wall"`
	CPU    time.Duration `json:"cpu"`  // of all threads, user and system
	Peak   int64         `json:"peak"` // bytes of memory at most, getting ready included
}

// measured runs a subject in a process of its own.
func measured(contest string, s subject, at places, firth string) (cost, error) {
	if s.args != nil {
		return command(firth, s, at)
	}
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	which := contest + "/" + s.name
	cmd := exec.Command(self, "--child", which, "--dir", at.own, "--data", at.data)
	cmd.Env = s.environ()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", which, err)
	}
	var c cost
	return c, json.Unmarshal(out.Bytes(), &c)
}

// environ is where a subject's kernel is forced.
func (s subject) environ() []string {
	if s.kernel == "" {
		return os.Environ()
	}
	return append(os.Environ(), "FIRTH_KERNEL="+s.kernel)
}

// command measures the program itself, its start included.
func command(firth string, s subject, at places) (cost, error) {
	args, amount := s.args(at)
	cmd := exec.Command(firth, args...)
	cmd.Env = s.environ()
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("firth %s: %w\n%s", strings.Join(args, " "), err, said.Bytes())
	}
	c := cost{Amount: amount, Wall: time.Since(start), CPU: cmd.ProcessState.SystemTime() + cmd.ProcessState.UserTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.Peak = u.Maxrss << 10 // at least what this small process had when it forked
	}
	return c, nil
}

// build makes the program that commands are measured with.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "firth")
	cmd := exec.Command("go", "build", "-o", path, "github.com/firth-project/firth/cmd/firth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build firth: %w\n%s", err, said)
	}
	return path, nil
}

func runChild(which string, at places) (err error) {
	s, err := find(which)
	if err != nil {
		return err
	}
	work, err := s.work(at)
	if err != nil {
		return err
	}
	runtime.GC()
	cpu, start := processor(), time.Now()
	n, err := work()
	if err != nil {
		return err
	}
	c := cost{Amount: n, Wall: time.Since(start), CPU: processor() - cpu}
	if c.Peak, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// processor is the time all threads of this process have run for.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a wrong argument makes it fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory this process has had, in bytes. Maxrss would count
// what its parent had when it was forked.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	_, err = fmt.Sscan(string(rest), &kib)
	return kib << 10, err
}
