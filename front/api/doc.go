// Package api is the native door: JSON over HTTP under /v1.
//
// It owns the routes, their OpenAPI 3.1 document at /v1/openapi.json and
// /v1/openapi.yaml, the page that renders it at /v1/docs, and the translation
// between the flow's nouns and the wire types of package client. It promises
// that every answer that is no success is a problem document (RFC 9457), that
// uploads, downloads and events are streamed in constant memory, that what a
// caller may do is decided before a byte of the body is read, and that the
// document describes exactly what is served.
//
// It refuses to hold any rule of the business: it asks the services.
package api
