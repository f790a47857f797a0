package mk12

import "github.com/libp2p/go-libp2p/core/protocol"

// The protocol ids. A client opens one stream a message: it writes one CBOR
// object, reads one, closes; nothing frames them. The transports protocol has
// no request: opening the stream is the question.
const (
	DealV120       protocol.ID = "/fil/storage/mk/1.2.0"
	DealV121       protocol.ID = "/fil/storage/mk/1.2.1"
	StatusV120     protocol.ID = "/fil/storage/status/1.2.0"
	AskV110        protocol.ID = "/fil/storage/ask/1.1.0"
	TransportsV100 protocol.ID = "/fil/retrieval/transports/1.0.0"
)

// MaxMessage bounds every message in bytes, read or written. The longest
// recorded proposal has 711; presigned URLs and tokens need some thousands.
const MaxMessage = 128 << 10
