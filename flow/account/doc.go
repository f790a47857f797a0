// Package account knows who may do what.
//
// It owns Project and Token. It promises that a token's secret is shown once
// and stored only as its SHA-256, that a revoked or expired token stops working
// with the next request, and that the first start of a node leaves exactly one
// default project with one admin token however many processes start at once.
//
// It refuses to know what a project owns: the doors turn a token into a project
// id and every other package takes that id and nothing else.
package account
