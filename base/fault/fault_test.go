package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/firth-project/firth/base/fault"
)

func TestKindSurvivesWrapping(t *testing.T) {
	err := fault.New(fault.NotFound, "content %d: %w", 7, io.EOF)
	err = fault.Wrap(fmt.Errorf("load: %w", err), "pack bucket %d", 3)

	if got := fault.KindOf(err); got != fault.NotFound {
		t.Errorf("KindOf = %v, want not_found", got)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if want := "pack bucket 3: load: content 7: EOF"; err.Error() != want {
		t.Errorf("text = %q, want %q", err, want)
	}
}

func TestKindOf(t *testing.T) {
	tests := map[string]struct {
		err  error
		want fault.Kind
	}{
		"unclassified":          {io.EOF, fault.Internal},
		"cancelled":             {fmt.Errorf("read: %w", context.Canceled), fault.Unavailable},
		"deadline":              {context.DeadlineExceeded, fault.Unavailable},
		"outermost wins":        {fault.Mark(fault.Invalid, fault.New(fault.NotFound, "x")), fault.Invalid},
		"joined":                {errors.Join(io.EOF, fault.New(fault.Exhausted, "disk")), fault.Exhausted},
		"kind out of the table": {fault.New(fault.Kind(200), "x"), fault.Kind(200)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fault.KindOf(tt.err); got != tt.want {
				t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}

func TestNilStaysNil(t *testing.T) {
	if fault.Wrap(nil, "op") != nil || fault.Mark(fault.Invalid, nil) != nil || fault.Is(nil, fault.Internal) {
		t.Error("a nil error became something")
	}
}

// Every kind must be told apart from outside, and come back from its status.
func TestTablesAreDistinct(t *testing.T) {
	names, statuses, exits := map[string]bool{}, map[int]bool{}, map[int]bool{}
	for k := fault.Internal; k <= fault.Unavailable; k++ {
		if fault.KindNamed(k.String()) != k {
			t.Errorf("%v is not found by its name", k)
		}
		if names[k.String()] || statuses[k.Status()] || exits[k.ExitCode()] || k.ExitCode() == 0 {
			t.Errorf("%v shares a name, status or exit code", k)
		}
		names[k.String()], statuses[k.Status()], exits[k.ExitCode()] = true, true, true
		if got := fault.KindOfStatus(k.Status()); got != k {
			t.Errorf("KindOfStatus(%d) = %v, want %v", k.Status(), got, k)
		}
	}
	if fault.Kind(200).String() != "internal" || fault.KindOfStatus(599) != fault.Internal {
		t.Error("the unknown must be internal")
	}
}
