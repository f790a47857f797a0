package devnet

import (
	"slices"
	"strconv"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Fault is how a provider misbehaves: a set, so one provider may be slow and
// serve wrong bytes. The zero value is a provider without fault.
type Fault uint16

// The faults. Each holds from the moment it is set until it is taken away.
const (
	Reject       Fault = 1 << iota // every proposal that would pass is refused, as by a deal filter
	Stall                          // accepts, asks for the data, then never moves a byte
	Slow                           // every sealing step takes ten times its epochs; bytes trickle
	Lie                            // claims a CommP the data does not have, so the deal fails
	NeverPublish                   // keeps good data and never puts the deal on chain
	Slash                          // loses the sector: the chain slashes every active deal
	Vanish                         // closes every door: no libp2p, no HTTP, no progress
	WrongBytes                     // answers retrievals with altered bytes
)

var faultNames = []struct {
	fault Fault
	name  string
}{
	{Reject, "reject"}, {Stall, "stall"}, {Slow, "slow"}, {Lie, "lie"},
	{NeverPublish, "never-publish"}, {Slash, "slash"}, {Vanish, "vanish"},
	{WrongBytes, "wrong-bytes"},
}

// Has reports whether every fault of g is set.
func (f Fault) Has(g Fault) bool { return f&g == g }

// String writes the set as ParseFault reads it: "slow+wrong-bytes", "none".
func (f Fault) String() string {
	var names []string
	for _, n := range faultNames {
		if f.Has(n.fault) {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "+")
}

// ParseFault reads one fault or several joined by "+"; "none" and "" are no
// fault. An unknown name is Invalid and the error lists the known ones.
func ParseFault(s string) (Fault, error) {
	var f Fault
	if s == "" || s == "none" {
		return f, nil
	}
	for name := range strings.SplitSeq(s, "+") {
		i := slices.IndexFunc(faultNames, func(n struct {
			fault Fault
			name  string
		}) bool {
			return n.name == strings.TrimSpace(name)
		})
		if i < 0 {
			return 0, fault.New(fault.Invalid, "fault %q: not one of %s", name, knownFaults())
		}
		f |= faultNames[i].fault
	}
	return f, nil
}

// ParseFaults reads a list like "2:reject,3:lie,3:slow": the number of a
// provider, counted from one, and a fault; a provider named twice has both.
func ParseFaults(s string) (map[int]Fault, error) {
	faults := map[int]Fault{}
	for item := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		number, name, ok := strings.Cut(item, ":")
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if !ok || err != nil || n < 1 || strings.TrimSpace(name) == "" {
			return nil, fault.New(fault.Invalid, "fault %q: want the number of a provider, a colon and a fault, as in 2:reject", item)
		}
		f, err := ParseFault(strings.TrimSpace(name))
		if err != nil {
			return nil, fault.Wrap(err, "provider %d", n)
		}
		faults[n] |= f
	}
	return faults, nil
}

func knownFaults() string {
	names := make([]string, len(faultNames))
	for i, n := range faultNames {
		names[i] = n.name
	}
	return strings.Join(names, ", ")
}
