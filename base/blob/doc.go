// Package blob is bytes by key: the contract of every place that keeps whole
// objects (a directory, an S3 bucket), and the rules for keys.
//
// It owns Store, Info and CheckKey. It promises that an object is either there
// with all its bytes or not there at all, that what Put returned survives the
// loss of power, and that every implementation passes blobtest.Run. It refuses
// partial writes, appends, renames and conditional writes, because not every
// object store has them; and it knows nothing of what the bytes mean.
package blob
