// Package dag turns files and directory trees into content-addressed blocks
// and back.
//
// It owns the import profiles, the UnixFS nodes of files, directories (plain
// and HAMT), and symbolic links, the order in which a DAG is laid into a CAR,
// and the reading and writing of CAR streams. It promises the CIDs that Kubo
// gives for the same bytes, names and profile; memory that does not grow with
// a file; and that nothing read from outside (a DAG, a CAR, a name) costs more
// than its limits allow, leaves the export directory, or panics. It refuses to
// fetch ahead, to follow symbolic links, to keep file modes and times, and to
// hand out foreign IPLD types: only CIDs and blocks travel.
//
// Whoever has hashed leaves already (the packer) builds from links: FileBuilder
// a file or a run of its leaves, JoinFile the rest of a file that was cut,
// DirectoryWriter the directories of a sorted list. The CIDs are those of
// AddFile and Tree, whatever the cut.
//
// # What a CAR may look like
//
// The CARv1 specification leaves room and readers differ. This reader decides:
//
//   - A header without "roots" is bad_header. The schema requires the key, and
//     an empty list is how a writer says that there are none.
//   - A section of length 0 is zero_length_section, in the middle and at the
//     end. Readers that stop there lose the blocks after it without a word.
//     CAROptions.ZeroPadded accepts zeros that reach to the end of the stream,
//     for a piece that is read back with its padding.
//   - A CARv2 payload shorter than its header announces is truncated, even
//     where it ends between two sections: that is how a broken transfer looks.
//   - A length that is followed by nothing is truncated. Some readers take it
//     for the end of the file.
//   - The index of a CARv2 is not read; blocks are found by reading them.
//   - Every digest is checked, by a hash function considered secure and with at
//     least 20 bytes; anything else is bad_cid because it proves nothing.
package dag
