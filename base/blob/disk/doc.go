// Package disk is a blob.Store in a directory.
//
// It owns the directory it is given: an object is a file, a key's path is the
// file's path with "+" behind each folder, so that "a" and "a/b" can both be.
// It promises that a file under its key is whole (temporary file, fsync, rename,
// fsync of the folder), that what a killed process left half written is gone
// after the next Open, and that no key leads out of the directory. Several
// processes may share one directory. It refuses keys that blob.CheckKey refuses.
package disk
