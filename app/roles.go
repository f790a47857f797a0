package app

import (
	"slices"
	"strings"

	"github.com/firth-project/firth/base/fault"
	"github.com/firth-project/firth/base/job"
)

// Role is one thing a node does. Roles meet only in the database, the blob
// store, the job queue and the event log, so together in one process and apart
// in several they are the same code.
type Role struct {
	Name  string
	Does  string
	Doors []string // "api", "gateway"
	// Queues are the job queues it works. A process has the handlers of every
	// kind, so roles of one queue may help each other out.
	Queues []job.Queue
}

// AllRoles runs every role of the table.
const AllRoles = "all"

// CommPRole is the role of a node apart: it has no part in the database, and so
// is neither in the table nor beside other roles.
const CommPRole = "commp"

// Roles is the table of roles.
func Roles() []Role {
	return []Role{
		{Name: "api", Does: "takes contents in and answers the JSON API", Doors: []string{"api"}},
		{Name: "gateway", Does: "serves contents by CID and pieces to providers", Doors: []string{"gateway"}},
		{Name: "packer", Does: "turns buckets and datasets into pieces", Queues: []job.Queue{job.Light, job.Net, job.Hash}},
		{Name: "dealer", Does: "keeps policies true by proposing deals", Queues: []job.Queue{job.Light, job.Net}},
		{Name: "tracker", Does: "follows deals with providers and on chain", Queues: []job.Queue{job.Light, job.Net}},
		{Name: "index", Does: "keeps the facts about providers", Queues: []job.Queue{job.Light, job.Net}},
	}
}

// ParseRoles reads a comma-separated list of role names, or "all".
func ParseRoles(list string) ([]Role, error) {
	table := Roles()
	if list == AllRoles {
		return table, nil
	}
	if strings.TrimSpace(list) == CommPRole {
		return []Role{{Name: CommPRole, Does: "computes commitments for another node, over its API"}}, nil
	}
	var names []string
	for _, r := range table {
		names = append(names, r.Name)
	}
	var chosen []Role
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(names, strings.TrimSpace(name))
		if strings.TrimSpace(name) == CommPRole {
			return nil, fault.New(fault.Invalid, "configuration roles: %s runs alone, in a process without the database", CommPRole)
		}
		if i < 0 {
			return nil, fault.New(fault.Invalid, "configuration roles: unknown role %q, known are %s or %s, and %s alone",
				name, strings.Join(names, ", "), AllRoles, CommPRole)
		}
		if !slices.ContainsFunc(chosen, func(r Role) bool { return r.Name == names[i] }) {
			chosen = append(chosen, table[i])
		}
	}
	return chosen, nil
}
