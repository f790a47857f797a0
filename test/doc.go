// Package test holds the scenarios: the product as people run it.
//
// It owns the harness that builds the real binary, starts it as processes
// (nodes together or apart, a local Filecoin network beside them), speaks to
// them over HTTP and the command line, kills them, and reads the chain to see
// what they did. It promises to leave no process behind and to attach what a
// process said to the failure it caused. It refuses hooks: nothing here reaches
// into a process except through what users have, signals and the file system.
//
// FIRTH_TEST_KILLS says how often processes are killed (6), FIRTH_TEST_SEED
// repeats the random choices of a run.
package test
