// Package devnet is a Filecoin network in one process: a chain with a virtual
// clock behind Lotus' JSON-RPC, and storage providers that speak mk1.2 over real
// libp2p, pull by HTTP, check CommP for real, seal by timer and serve what they
// hold.
//
// It promises that foreign clients (Boost's, Singularity) can use it as they
// are, that keys, ids and timing in epochs follow from a seed, that nothing
// listens beyond loopback unless told to, and that bytes are streamed: a pull
// or a retrieval costs some hundred KiB of memory whatever its length. It
// refuses to remember: state ends with the process, and to know anything of
// Firth above the base packages.
package devnet
