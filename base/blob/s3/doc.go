// Package s3 keeps blobs as objects of an S3 bucket, on any server that speaks
// S3.
//
// It owns Store and the URLs that name one. It promises the contract of
// blob.Store: an object is visible when all of it has been sent, so a writer
// that dies leaves nothing that looks like one, and the parts of uploads that
// nobody continues are removed by Sweep. It reads and writes streams: memory is
// 8 MiB for each Put under way and 8 MiB for each of the four parts that a store
// sends at a time, whatever the size; objects of up to 256 KiB take what they
// are. It refuses objects above 78 GiB, which is 10,000 parts of 8 MiB, and to
// show its credentials anywhere.
package s3
