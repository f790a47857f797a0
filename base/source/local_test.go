package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/source"
)

// plant makes files of "path: content"; "path/" makes a directory.
func plant(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		at := filepath.Join(root, name)
		dir := filepath.Dir(at)
		if strings.HasSuffix(name, "/") {
			dir = at
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir != at {
			if err := os.WriteFile(at, []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLocalTellsEveryKind(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{
		"a-b": "1", "a/b": "22", "a.txt": "", "empty/": "", ".hidden/x": "h", "new\nline": "n", "bad\xff\xfeutf8": "u", " spaces ": "s",
		"back\\slash": "b", "a/b:c": "colon", "ü": "umlaut",
	})
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("a/b", "link")
	link("nowhere", "dangling")
	link("..", "up")
	link(".", "circle")
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(root, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	s := open(t, root, nil)
	items := walk(t, s, "", source.Filter{})
	want := []string{" spaces ", ".hidden/", ".hidden/x", "a-b", "a.txt", "a/", "a/b", "a/b:c", "back\\slash", "bad\xff\xfeutf8", "circle", "dangling",
		"empty/", "link", "new\nline", "pipe", "sock", "up", "ü"}
	if got := keys(items); !slices.Equal(got, want) {
		t.Fatalf("keys\n%q, want\n%q", got, want)
	}
	for _, i := range items {
		switch i.Path {
		case "link", "dangling", "up", "circle":
			target, _ := os.Readlink(filepath.Join(root, i.Path))
			if i.Kind != source.KindSymlink || i.Target != target || i.Unreadable != "" {
				t.Errorf("%+v", i)
			}
		case "pipe", "sock":
			if i.Kind != source.KindOther || i.Unreadable == "" {
				t.Errorf("%+v", i)
			}
			if _, err := s.Open(t.Context(), i.Path, ""); !fault.Is(err, fault.Conflict) {
				t.Errorf("a %s opens: %v", i.Path, err)
			}
		case "a/b":
			if i.Size != 2 || string(readAll(t, s, i)) != "22" {
				t.Errorf("%+v", i)
			}
		}
	}
	resumes(t, s)
	for _, path := range []string{"link", "up/passwd", "circle/a-b", "../x", "/etc/passwd", "", "a", "a//b", "a/./b"} {
		if f, err := s.Open(t.Context(), path, ""); err == nil {
			f.Close()
			t.Errorf("%q opens", path)
		}
	}
}

func TestLocalOfOneFile(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"dir/only": "content", "dir/other": "no"})
	if err := os.Symlink("dir/only", filepath.Join(root, "named")); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"dir/only", "named"} { // a link as the root is followed
		s := open(t, filepath.Join(root, at), nil)
		items := walk(t, s, "", source.Filter{})
		if len(items) != 1 || items[0].Path != "only" || string(readAll(t, s, items[0])) != "content" {
			t.Errorf("%s: %+v", at, items)
		}
		if got := walk(t, s, "only", source.Filter{}); len(got) != 0 {
			t.Errorf("behind the only one: %v", got)
		}
		if _, err := s.Open(t.Context(), "other", ""); !fault.Is(err, fault.NotFound) {
			t.Errorf("a neighbour: %v", err)
		}
	}
	for at, kind := range map[string]fault.Kind{"none": fault.NotFound, "dir/only/below": fault.NotFound} {
		if _, err := source.Open(t.Context(), source.Spec{URL: filepath.Join(root, at)}); !fault.Is(err, kind) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := source.Open(t.Context(), source.Spec{URL: "/dev/null"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a device: %v", err)
	}
}

// A file is the version that was scanned, through every change, or an error.
// A source is what its path names until something else comes to stand there,
// and goes on with what it was opened with.
func TestLocalIsCurrent(t *testing.T) {
	root := t.TempDir()
	at, away := filepath.Join(root, "at"), filepath.Join(root, "away")
	plant(t, root, map[string]string{"at/f": "text"})
	tree, file := open(t, at, nil), open(t, filepath.Join(at, "f"), nil)
	for _, step := range []struct {
		name string
		do   func() error
		want fault.Kind // Internal is current
	}{
		{"as it was", func() error { return nil }, fault.Internal},
		{"with other content", func() error { return os.WriteFile(filepath.Join(at, "f"), []byte("longer"), 0o600) }, fault.Internal},
		{"moved away", func() error { return os.Rename(at, away) }, fault.NotFound},
		{"replaced", func() error { plant(t, root, map[string]string{"at/f": "text"}); return nil }, fault.Conflict},
		{"behind a link", func() error { return errors.Join(os.RemoveAll(at), os.Symlink(away, at)) }, fault.Internal},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*source.Source{tree, file} {
			err := s.Current(t.Context())
			if (err == nil) != (step.want == fault.Internal) || err != nil && !fault.Is(err, step.want) {
				t.Errorf("%s, %s: %v", s, step.name, err)
			}
			f, err := s.Open(t.Context(), "f", "")
			if err != nil {
				t.Fatalf("%s, %s: %v", s, step.name, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLocalChanges(t *testing.T) {
	root := t.TempDir()
	at := filepath.Join(root, "d", "f")
	old := time.Unix(1_700_000_000, 123_000_000)
	fresh := func() source.Item {
		os.RemoveAll(filepath.Join(root, "d"))
		plant(t, root, map[string]string{"d/f": "0123456789", "e/f": "0123456789"})
		for _, d := range []string{"d", "e"} {
			if err := os.Chtimes(filepath.Join(root, d, "f"), old, old); err != nil {
				t.Fatal(err)
			}
		}
		return walk(t, open(t, root, nil), "d/", source.Filter{})[0]
	}
	changes := map[string]struct {
		do     func() error
		before fault.Kind // of Open behind the change
	}{
		"grows":              {func() error { return os.WriteFile(at, []byte("0123456789+"), 0o644) }, fault.Conflict},
		"shrinks":            {func() error { return os.Truncate(at, 4) }, fault.Conflict},
		"same size":          {func() error { return os.WriteFile(at, []byte("9876543210"), 0o644) }, fault.Conflict},
		"vanishes":           {func() error { return os.Remove(at) }, fault.NotFound},
		"becomes a link":     {func() error { os.Remove(at); return os.Symlink("../e/f", at) }, fault.Conflict},
		"becomes a pipe":     {func() error { os.Remove(at); return syscall.Mkfifo(at, 0o644) }, fault.Conflict},
		"becomes a folder":   {func() error { os.Remove(at); return os.Mkdir(at, 0o755) }, fault.Conflict},
		"is below a link":    {func() error { os.RemoveAll(filepath.Dir(at)); return os.Symlink("e", filepath.Dir(at)) }, fault.Conflict},
		"its folder is gone": {func() error { return os.RemoveAll(filepath.Dir(at)) }, fault.NotFound},
	}
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			i := fresh()
			s := open(t, root, nil)
			f, err := s.Open(t.Context(), i.Path, i.ID())
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			if g, err := s.Open(t.Context(), i.Path, i.ID()); !fault.Is(err, c.before) {
				if err == nil {
					g.Close()
				}
				t.Errorf("opened behind the change: %v", err)
			} else if !strings.Contains(err.Error(), `"d/f"`) {
				t.Errorf("the error does not name the file: %v", err)
			}
			p := make([]byte, 20)
			n, rerr := f.ReadAt(p, 0)
			cerr := f.Check(t.Context())
			whole := n == 10 && rerr == io.EOF && string(p[:n]) == "0123456789"
			if !whole && cerr == nil {
				t.Errorf("read %q, %v, and the check says nothing", p[:n], rerr)
			}
			if cerr != nil && !fault.Is(cerr, fault.Conflict) {
				t.Errorf("check: %v", cerr)
			}
		})
	}
}

// What nobody may read is told with the reason, and the walk goes on. Root may
// read everything, so the walk is done by another user.
func TestLocalUnreadable(t *testing.T) {
	if root := os.Getenv("FIRTH_SOURCE_WALK"); root != "" {
		s := open(t, root, nil)
		for _, i := range walk(t, s, "", source.Filter{}) {
			kind := ""
			if i.Kind == source.KindFile {
				f, err := s.Open(t.Context(), i.Path, i.ID())
				if err == nil {
					f.Close()
				}
				kind = fmt.Sprint(err == nil, fault.KindOf(err))
			}
			fmt.Printf("ITEM %s|%s|%s\n", i.Key(), i.Unreadable, kind)
		}
		return
	}
	root := t.TempDir()
	plant(t, root, map[string]string{"a": "1", "closed/x": "2", "secret": "3", "unlisted/y": "4", "z": "5"})
	for name, mode := range map[string]os.FileMode{"closed": 0, "secret": 0, "unlisted": 0o644} {
		at := filepath.Join(root, name)
		if err := os.Chmod(at, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(at, 0o755) })
	}
	for dir := root; dir != "/" && os.Getuid() == 0; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755|os.ModeSticky); err != nil {
			t.Skip(err)
		}
		if filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^TestLocalUnreadable$")
	if os.Getuid() == 0 {
		// The test's program lies in a folder of root's.
		b, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = filepath.Join(root, "..", "program")
		if err := os.WriteFile(cmd.Path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "FIRTH_SOURCE_WALK="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if item, ok := strings.CutPrefix(line, "ITEM "); ok {
			got = append(got, strings.TrimSpace(item))
		}
	}
	want := []string{
		"a||true internal", "closed/|may not be read: permission denied|", "secret||false forbidden",
		"unlisted/||", "unlisted/y|may not be read: permission denied|false forbidden", "z||true internal",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestLocalFilter(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{
		"a.txt": "", "a.jpg": "", "sub/b.txt": "", "sub/deep/c.txt": "", "sub/deep/d.jpg": "", ".git/config": "", "sub/.env": "",
		"node/modules/x.txt": "", "UP.TXT": "", "empty/": "",
	})
	tests := map[string]struct {
		f    source.Filter
		want string
	}{
		"hidden":      {source.Filter{SkipHidden: true, Include: []string{"*.txt", ".env"}}, "a.txt node/modules/x.txt sub/b.txt sub/deep/c.txt"},
		"by name":     {source.Filter{Include: []string{"*.jpg"}}, "a.jpg sub/deep/d.jpg"},
		"by path":     {source.Filter{Include: []string{"sub/*.txt"}}, "sub/b.txt"},
		"anchored":    {source.Filter{Include: []string{"/*.txt"}}, "a.txt"},
		"any depth":   {source.Filter{Include: []string{"sub/**/*.txt"}}, "sub/b.txt sub/deep/c.txt"},
		"whole tree":  {source.Filter{Include: []string{"sub/deep"}}, "sub/deep/ sub/deep/c.txt sub/deep/d.jpg"},
		"directories": {source.Filter{Include: []string{"empty/", "a.txt/"}}, "empty/"},
		"excluded":    {source.Filter{Exclude: []string{"node", ".*", "*.jpg", "empty"}}, "UP.TXT a.txt sub/ sub/b.txt sub/deep/ sub/deep/c.txt"},
		"both":        {source.Filter{Include: []string{"**.txt"}, Exclude: []string{"sub/deep/**"}}, "a.txt node/modules/x.txt sub/b.txt"},
		"class":       {source.Filter{Include: []string{"[!a-z]*.TXT", "[b-c].t?t"}}, "UP.TXT sub/b.txt sub/deep/c.txt"},
	}
	s := open(t, root, nil)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			all := keys(walk(t, s, "", tt.f))
			if got := strings.Join(all, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			for n, after := range all {
				if got := keys(walk(t, s, after, tt.f)); !slices.Equal(got, all[n+1:]) {
					t.Errorf("behind %q: %q", after, got)
				}
			}
		})
	}
	for _, bad := range []string{"", "/", "a[", `a\`, "[z-a]"} {
		err := s.Walk(t.Context(), "", source.Filter{Exclude: []string{bad}}, func(source.Item) error { return nil })
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("glob %q: %v", bad, err)
		}
	}
}

// The walk ends with what visit says, and when it is told to.
func TestWalkEnds(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a/b": "", "c": ""})
	s := open(t, root, nil)
	stop := errors.New("stop")
	if err := s.Walk(t.Context(), "", source.Filter{}, func(source.Item) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := s.Walk(ctx, "", source.Filter{}, func(source.Item) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("cancelled: %v after %d items", err, n)
	}
}

func TestLocalManyFiles(t *testing.T) {
	root := t.TempDir()
	const dirs, each = 50, 1000
	tree(t, root, dirs, each)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := open(t, root, nil)
	n, last := 0, ""
	if err := s.Walk(t.Context(), "", source.Filter{}, func(i source.Item) error {
		if i.Key() <= last {
			return fmt.Errorf("%q behind %q", i.Key(), last)
		}
		last = i.Key()
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n != dirs*each+dirs {
		t.Errorf("%d items", n)
	}
	if per := (after.Mallocs - before.Mallocs) / uint64(n); per > 8 {
		t.Errorf("%d allocations an item", per)
	}
}

// tree makes dirs × each files of a few bytes.
func tree(t testing.TB, root string, dirs, each int) {
	t.Helper()
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("d%04d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		first := ""
		for f := range each {
			at := filepath.Join(dir, fmt.Sprintf("file-%05d", f))
			err := os.Link(first, at) // many times faster to make, and as good to read
			if f == 0 {
				first, err = at, os.WriteFile(at, []byte("tiny"), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	root := b.TempDir()
	tree(b, root, 100, 1000)
	s := open(b, root, nil)
	for _, read := range []bool{false, true} {
		b.Run(map[bool]string{false: "list", true: "open-read-check"}[read], func(b *testing.B) {
			n, start := 0, cpu()
			p := make([]byte, 4096)
			for b.Loop() {
				if err := s.Walk(b.Context(), "", source.Filter{}, func(i source.Item) error {
					if n++; !read || i.Kind != source.KindFile {
						return nil
					}
					f, err := s.Open(b.Context(), i.Path, i.ID())
					if err != nil {
						return err
					}
					if _, err := f.ReadAt(p[:i.Size], 0); err != nil {
						return err
					}
					if err := f.Check(b.Context()); err != nil {
						return err
					}
					return f.Close()
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/(cpu()-start).Seconds(), "files/cpu-s")
		})
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
