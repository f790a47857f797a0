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

// measured runs a subject in a process of its own. What others left to be written
// to the disk is written before, so that nobody pays for it.
func measured(contest string, s subject, at places) (cost, error) {
	syscall.Sync()
	if s.args != nil {
		return command(s, at)
	}
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	which := contest + "/" + s.name
	cmd := exec.Command(self, "--child", which, "--dir", at.own, "--data", at.data, "--firth", at.firth)
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
func command(s subject, at places) (cost, error) {
	args, amount := s.args(at)
	cmd := exec.Command(at.firth, args...)
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

func runChild(which string, at places) error {
	s, err := find(which)
	if err != nil {
		return err
	}
	work, pid := s.work, os.Getpid()
	if s.serve != nil {
		by, err := s.serve(at)
		if err != nil {
			return err
		}
		defer by.stop()
		work, pid = by.fetching, by.pid
	}
	do, err := work(at)
	if err != nil {
		return err
	}
	runtime.GC()
	before, err := processor(pid)
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := do()
	if err != nil {
		return err
	}
	c := cost{Amount: n, Wall: time.Since(start)}
	after, err := processor(pid)
	if err != nil {
		return err
	}
	c.CPU = after - before
	if c.Peak, err = peak(pid); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// processor is the time all threads of a process have run for, those that ended
// too. Of this process it is to the microsecond, of another to a tick.
func processor(pid int) (time.Duration, error) {
	if pid != os.Getpid() {
		return ticks(pid)
	}
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// ticks reads proc(5): fields 14 and 15 of stat, a hundred a second on Linux.
func ticks(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var user, system int64
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

// peak is the most memory a process has had, in bytes. Maxrss would count what
// its parent had when it was forked.
func peak(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	_, err = fmt.Sscan(string(rest), &kib)
	return kib << 10, err
}
