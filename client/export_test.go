package client

// ReadEvents is the stream parser, for its fuzz test.
var ReadEvents = readEvents
