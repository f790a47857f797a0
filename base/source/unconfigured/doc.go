// Package unconfigured keeps rclone's library from making a configuration
// folder in the home of whoever runs a program that links it.
//
// The library makes ~/.config/rclone while it is initialised, before any code of
// ours can say that sources have no configuration file; it leaves that alone when
// the environment names another. So this package names one, of no length, while
// it is initialised itself. It promises to be first: packages are initialised in
// the order of their import paths, each after those it imports, and this one
// imports os alone. It refuses to override what the environment says.
package unconfigured
