// Package source is where datasets come from: a tree of files on this machine
// or behind S3, HTTP, SFTP, WebDAV, Google Cloud Storage or Azure Blob.
//
// It owns how a source is named (Spec), which of its files are wanted (Filter),
// the order in which they are told (Walk: the byte order of whole paths, so
// that a scan can be resumed and two scans merged), and their bytes (Open,
// File.ReadAt). It promises that no name is silently lost (what cannot be read
// is an Item with the reason), that bytes are those of the version the scan saw
// or an error, and that memory is one directory or one page of a listing,
// however many files there are. Remote sources are read through rclone's
// backends, configured from Spec.Options alone: no configuration file, no
// environment. It refuses to write, to follow symbolic links, and to open
// devices, sockets and pipes.
package source
