package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// contest is one comparison.
type contest struct {
	name, title string
	unit        string                 // what is counted: "MiB", "files"
	per         float64                // how much of what a subject counts makes one unit
	data        func(dir string) error // made once for all subjects; nil for none
	subjects    []subject
}

// subject is one way to do the work of a contest. The first of a contest is
// what the others are held against.
type subject struct {
	name   string
	kernel string // forced upon Firth's hashing; "" leaves the choice to it
	// work gets ready and returns what is to be measured, which says how much it
	// did. It may write to a folder of its own, which is thrown away.
	work work
	// serve starts a servant, which is measured while a client fetches its bytes.
	serve func(at places) (servant, error)
	// args is the firth command to measure instead, from start to end.
	args func(at places) (args []string, amount int64)
}

// places are the folders of a subject, and the program if its contest wants it.
type places struct{ data, own, firth string }

type work func(at places) (func() (int64, error), error)

// servant is a process that does the work of a subject for a client.
type servant struct {
	pid  int
	url  string // of the bytes to fetch
	stop func()
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "rounds; the figures are medians over them")
	dir := flags.String("dir", "", "where data is made; a temporary folder when empty")
	firth := flags.String("firth", "", "for a child: the program")
	data := flags.String("data", "", "for a child: the data of its contest")
	plots := flags.String("plots", "", "folder to draw the curves into, as SVG")
	child := flags.String("child", "", "run one subject, CONTEST/SUBJECT, and print its cost")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *child == "files" || *child == "copies" {
		return serveFiles(*child, *data, *dir)
	}
	if *child != "" {
		return runChild(*child, places{*data, *dir, *firth})
	}
	tmp, err := os.MkdirTemp(*dir, "firth-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	wanted := flags.Args()
	for _, name := range wanted {
		if name != "curves" && !slices.ContainsFunc(contests(), func(c contest) bool { return c.name == name }) {
			return fmt.Errorf("no contest %q: there are %s and curves", name, strings.Join(names(), ", "))
		}
	}
	for _, c := range contests() {
		if len(wanted) > 0 && !slices.Contains(wanted, c.name) {
			continue
		}
		if err := hold(c, *rounds, tmp, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if len(wanted) == 0 || slices.Contains(wanted, "curves") {
		return curves(*rounds, tmp, *plots, os.Stdout)
	}
	return nil
}

func contests() []contest {
	return slices.Concat(hashing(), preparing(), serving())
}

func names() (out []string) {
	for _, c := range contests() {
		out = append(out, c.name)
	}
	return out
}

// find returns a subject by CONTEST/SUBJECT.
func find(which string) (subject, error) {
	name, of, _ := strings.Cut(which, "/")
	for _, c := range contests() {
		for _, s := range c.subjects {
			if c.name == name && s.name == of {
				return s, nil
			}
		}
	}
	return subject{}, errors.New("no subject " + which)
}
