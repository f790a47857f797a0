// Package sha256x computes many SHA-256 digests at once. Vector units hash 8 or
// 16 messages in the time of two or three, so that the digests of the leaves of
// a file, or of a thousand small files, cost a third of what one after the other
// costs.
//
// It owns the lanes: messages of any lengths are dealt to them, a lane that is
// done takes the next message, and what is left over at the end is finished by
// whichever kernel is quickest for that few, crypto/sha256 for one. Kernels are
// assembly written by base/sha256x/gen; they are chosen by what the processor
// has and by a measurement of a millisecond at the first use. FIRTH_KERNEL names
// one of Kernels to be used instead; a name this machine does not know changes
// nothing, and Kernel says which one it is. The build tag purego leaves all but
// crypto/sha256 out.
//
// It promises the digests of crypto/sha256, reads nothing outside the messages,
// starts no goroutine and allocates nothing after the first calls. It refuses
// streams: a message is in memory as a whole.
package sha256x
