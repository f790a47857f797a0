// Package indexdag says where every file of a dataset is, in a DAG anyone can
// read.
//
// It owns the index DAG: DAG-CBOR nodes, UnixFS-like, that give each file of a
// dataset its size, its canonical CID and the ranges of the pieces that hold
// it; the way from a domain or an IPNS name to an index; and the getting of
// files by path, from piece servers, gateways, storage providers or a directory
// of CARs, with no database and no trust in any of them. It promises
// that the same entries make the same DAG, that a directory of any size is
// looked up in as many blocks as its tree is high, memory of one page a level
// and open directory, and that no byte reaches a file before its block was
// checked against the CID above it. It refuses names no disk can hold, to write
// outside the directory it was given, and to follow symbolic links.
//
// # The format
//
// Keys are sorted as DAG-CBOR wants. CIDs of contents and pieces are text, as
// the index of Singularity v1 has them: whoever pins or walks an index must not
// find links into a petabyte. Links lead from index node to index node alone.
// Names, targets and paths are text where they are UTF-8, else bytes. No node
// is larger than 256 KiB.
//
//	dataset  {type: "dataset", version: 1, name, root: CID, profile, created: s,
//	          files, bytes, tree: link, pieces: link, [encryption, compression]}
//	dir      {type: "dir", entries: [entry]} or {type: "dir", pages: [page]}
//	entry    {name, type: "file", size, cid, sources, [mtime: ns, stored]}
//	         {name, type: "dir", size, files, link, [cid, mtime]}
//	         {name, type: "link", target, cid, [mtime, sources]}
//	sources  [source], or link to {type: "sources", entries or pages}
//	source   {piece: CID v2, cid, offset, length, car: [offset, length, …], [path], [plain: [offset, length]]}
//	pieces   {type: "pieces", entries: [{cid, root, size}]} or {…, pages}
//	page     {count, first, link}
//
// Of a file that was encrypted or compressed, offsets and lengths of sources are
// those of what is stored. One too large for a piece was cut before: each source
// is then encoded by itself, and plain says which bytes of the file it holds. A
// reader that does not know plain finds zstd frames one behind the other, which
// are one stream, or fails at the second age file.
//
// Entries are in byte order of their names, a directory's being "name/", so
// that a walk is in byte order of whole paths; first is that name of a page's
// first entry (of sources the offset, of pieces the ordinal). The nodes of
// Singularity v1 ({__type, __size, __source, name: …}) are read too.
package indexdag
