package chain

import (
	"encoding/json"
	"strings"

	"github.com/firth-project/firth/base/fault"
)

// Error codes of JSON-RPC 2.0 that nodes answer with. Errors of the method
// itself have code 1.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeMethodFailed   = 1
)

type rpcRequest struct {
	Jsonrpc string `json:"jsonrpc"`
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type rpcResponse struct {
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// fault classifies what a node said. Nodes have no error codes beyond the
// protocol's own, so the texts of Lotus and Forest have to do.
func (e *rpcError) fault(method string) error {
	return fault.New(e.kind(), "%s: the node answered: %.1000s (code %d)", method, e.Message, e.Code)
}

func (e *rpcError) kind() fault.Kind {
	switch e.Code {
	case CodeMethodNotFound, CodeInvalidParams, CodeInvalidRequest, CodeParse:
		return fault.Invalid
	}
	text := strings.ToLower(e.Message)
	for _, rule := range answerKinds() {
		if strings.Contains(text, rule.text) {
			return rule.kind
		}
	}
	return fault.Unavailable
}

type answerKind struct {
	text string
	kind fault.Kind
}

// answerKinds is read from the top: the first text that occurs decides.
func answerKinds() []answerKind {
	return []answerKind{
		{"missing permission", fault.Forbidden},
		{"not enough funds", fault.Exhausted},
		{"insufficient funds", fault.Exhausted},
		{"minimum expected nonce", fault.Conflict},
		{"nonce too low", fault.Conflict},
		{"already in mpool", fault.Conflict},
		{"signature", fault.Invalid},
		{"actor not found", fault.NotFound},
		{"method not found", fault.Invalid},
		{"not found", fault.NotFound},
		{"no such", fault.NotFound},
	}
}
