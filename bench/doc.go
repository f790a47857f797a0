// Command bench compares Firth with the public libraries that do the same work,
// in one run on one machine.
//
//	go run ./bench                 every comparison
//	go run ./bench commp leaves    some of them
//	go run ./bench --plots docs/plots curves
//
// Every subject runs in a process of its own, which measures its own work:
// processor time of all its threads (user and system), wall time, and the peak
// of its memory. Rounds go over all subjects in turn, nobody always first, and a
// ratio is the median over the rounds of two neighbours in time, so a machine
// that is busy, or changes its speed, hurts both alike.
package main
