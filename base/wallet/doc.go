// Package wallet holds Filecoin keys and signs with them: secp256k1 (f1), BLS
// (f3) and delegated (f410), in pure Go.
//
// It owns key formats (Lotus export), signatures over bytes and over chain
// messages, their verification, the printing of addresses, and a keystore of
// encrypted files that is unlocked once with a secret.
//
// It promises what Lotus promises: what Lotus accepts verifies here, what Lotus
// refuses does not. Private keys never appear in errors, logs, %v or file
// names. It refuses id addresses (resolve them on chain first), multisig
// signing, and any network I/O.
package wallet
