package arch

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"testing"
)

// rule is one sentence and the check that holds the tree to it.
type rule struct {
	name string
	why  string // printed beneath every place that breaks it
	find func(*module) []finding
}

// rules is the whole of the house's law.
var rules = []rule{
	{"known places", "Every package stands on a floor of the house and, in front, flow and base, in a room of the table: " +
		"a new noun is a reviewed line in rooms.", knownPlaces},
	{"arrows go down", "Arrows go down: cmd → app → front → flow → base. Skipping floors is fine, climbing is not; " +
		"what a lower floor needs from a higher one is an interface of its own that app fills in.", downward},
	{"arrows go sideways by the table", "Between rooms of flow and of base only the arrows of the table exist. " +
		"News against the arrows travels by events; any other need is a consumer-side interface that app fills in. A new arrow is a reviewed line in arrows.", sideways},
	{"doors do not know each other", "A door imports the doorman (front) and no other door, and the doorman imports no door: " +
		"what two doors share is a rule of flow or a service of the doorman.", doors},
	{"client stands alone", "client imports the standard library only: whoever embeds it takes nothing else of ours, and wire types need only struct tags.", clientAlone},
	{"commp stands alone", "base/commp imports nothing of ours: the commitment engine is pure and useful without us.", commpAlone},
	{"arch is unseen", "internal holds these rules and nothing else: tests only, imported by none.", archUnseen},
	{"app chooses the store", "Only app imports blob/disk and blob/s3: where bytes are kept is decided once; everyone else takes a blob.Store.", storesChosenOnce},

	{"foreign libraries at home", "A foreign library is known to the packages of its line in guests and to no other, so that replacing it is changing one folder.", foreignersAtHome},
	{"unwanted libraries stay out", "This library never enters the house; its line in unwanted says why.", unwantedStayOut},

	{"plain names", "A package or file is named by the noun or verb it holds, in the singular; util, common, core, model, types, manager, handler and helper hold anything.", plainNames},
	{"one word a thing", "One word a thing, in Go, SQL, JSON, CLI, UI and docs (docs/glossary.md). A foreign format's own names are excused by a line in wireNames.", oneWord},

	{"no init", "No init(): nothing happens because a package was imported; app builds what runs, in reading order.", noInit},
	{"no sleep", "No time.Sleep: wait on a signal, a context or a timer in a select, and in tests on the thing itself or in a synctest bubble.", noSleep},
	{"the clock is given", "In flow clock and randomness are parameters, so that a test can hold them.", clockIsGiven},
	{"no panic", "No panic but for a programmer's mistake in a constructor (New…, Must…): what can happen at run time is an error. " +
		"Elsewhere a panic says on its line why it cannot happen, or the function's comment says that it panics.", noPanic},
	{"one exit", "Only main ends the process: everything else returns an error.", oneExit},
	{"quiet", "Log to the *slog.Logger that was passed in and print in commands only.", quiet},
	{"plain errors", "An error says the operation and its operand (\"pack piece 7: …\"), never \"failed to\".", plainErrors},
	{"no mutable globals", "A package-level variable is never assigned to: state has an owner, and two apps run in one process.", noMutableGlobals},

	{"every package speaks", "Every package has a doc.go that begins \"Package x …\" (or \"Command x …\") and says what it owns, promises and refuses.", everyPackageSpeaks},
	{"every name speaks", "Every exported name has a comment that says what is promised: shapes, units, errors, source.", everyNameSpeaks},
	{"small enough", "A file has at most 600 lines and a function at most 100; past 400 and 60 look twice.", smallEnough},

	{"tables bear their owner's name", "A table is created by one package and bears its name (piece_plan is piece's).", tablesBearTheirName},
	{"tables are their owner's", "A package touches its own tables only: ask the owner's service, or keep what you need in a table of yours.", tablesAreTheirOwners},
	{"keys follow arrows", "A foreign key is an arrow: it may point only where an import may.", keysFollowArrows},
	{"migrations in order", "Migrations lie in a folder migrations of the package that owns their tables, are called 00100_noun.sql, and their numbers are global.", migrationsInOrder},
	{"portable SQL", "One set of migrations serves SQLite and PostgreSQL: TEXT, BIGINT, BYTEA, BOOLEAN, TIMESTAMP, JSON as TEXT, and {{identity}}.", portableSQL},
	{"SQL in stores", "In flow all SQL stands in store.go (or store_x.go): rules and statements change for different reasons.", sqlInStores},
}

// house is the module's root as seen from this folder.
const house = "../.."

func TestHouse(t *testing.T) {
	m, err := load(os.DirFS(house))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.pkgs) < 2 {
		t.Fatalf("%d packages found: the tree is not where it is looked for", len(m.pkgs))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if found := r.find(m); len(found) > 0 {
				t.Error(report(r, found))
			}
		})
	}
	for _, f := range larger(m, lookFile, lookFunc) {
		t.Logf("look twice: %s: %s", f.at, f.say)
	}
}

// report is the sentence of a rule with the places that break it.
func report(r rule, found []finding) string {
	slices.SortFunc(found, func(a, b finding) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.say, b.say)) })
	found = slices.Compact(found)
	var b strings.Builder
	b.WriteString(r.why + "\n")
	for _, f := range found {
		b.WriteString("  " + f.at + ": " + f.say + "\n")
	}
	return b.String()
}
