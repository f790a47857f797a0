package devnet

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/firth-project/firth/base/chain"
)

// The notifications go-jsonrpc puts beside the protocol: values and the end of
// a channel to the client, the end of a call to the server.
const (
	channelValue = "xrpc.ch.val"
	channelClose = "xrpc.ch.close"
	callCancel   = "xrpc.cancel"
)

const (
	maxSocketCalls = 256 // running calls and streams of one websocket
	socketWrite    = 30 * time.Second
)

// socket is one websocket: calls run side by side and answer in any order.
type socket struct {
	server *rpcServer
	conn   *websocket.Conn
	ctx    context.Context
	end    context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	running  map[string]context.CancelFunc // by id as it was written
	count    int
	channels uint64
}

type rpcNotification struct {
	Jsonrpc string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

func (s *rpcServer) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil) // a foreign Origin is refused: no web page may drive the devnet
	if err != nil {
		s.log.Debug("rpc websocket refused", "error", err)
		return
	}
	conn.SetReadLimit(maxRequestBytes)
	ctx, end := context.WithCancel(s.ctx)
	k := &socket{server: s, conn: conn, ctx: ctx, end: end, running: map[string]context.CancelFunc{}}
	defer k.wait.Wait()
	defer end()
	defer conn.CloseNow()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var req rpcRequest
		if err := json.Unmarshal(data, &req); err != nil {
			k.send(failure(nil, &rpcError{chain.CodeParse, err.Error()}))
			continue
		}
		k.handle(req)
	}
}

func (k *socket) handle(req rpcRequest) {
	if req.Method == callCancel {
		k.cancel(req.Params)
		return
	}
	m, ok := k.server.methods[req.Method]
	if !ok {
		k.answer(req, failure(req.ID, methodNotFound(req.Method)))
		return
	}
	ctx, done, ok := k.begin(string(req.ID))
	if !ok {
		k.answer(req, failure(req.ID, &rpcError{chain.CodeMethodFailed, "too many calls are running on this websocket"}))
		return
	}
	k.wait.Go(func() {
		defer done()
		if m.stream != nil {
			k.stream(ctx, m, req)
			return
		}
		k.answer(req, k.server.run(ctx, m, req))
	})
}

// begin enters a call into the books and returns what takes it out again.
func (k *socket) begin(id string) (ctx context.Context, done func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count >= maxSocketCalls {
		return nil, nil, false
	}
	k.count++
	ctx, cancel := context.WithCancel(k.ctx)
	k.running[id] = cancel
	return ctx, func() {
		cancel()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.count--
		delete(k.running, id)
	}, true
}

func (k *socket) cancel(raw json.RawMessage) {
	p, err := parseParams(raw)
	if err != nil || len(p) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if cancel, ok := k.running[string(p[0])]; ok {
		cancel()
	}
}

// stream answers with the channel's number, then sends its values, then its end.
func (k *socket) stream(ctx context.Context, m method, req rpcRequest) {
	p, err := parseParams(req.Params)
	if err != nil {
		k.answer(req, failure(req.ID, err))
		return
	}
	run, err := m.stream(ctx, p)
	if err != nil {
		k.answer(req, failure(req.ID, err))
		return
	}
	k.mu.Lock()
	k.channels++
	channel := k.channels
	k.mu.Unlock()
	k.answer(req, success(req.ID, channel))
	run(func(v any) error {
		k.send(rpcNotification{"2.0", channelValue, []any{channel, v}})
		return ctx.Err()
	})
	k.send(rpcNotification{"2.0", channelClose, []any{channel}})
}

func (k *socket) answer(req rpcRequest, v any) {
	if !req.notification() {
		k.send(v)
	}
}

// send ends the websocket when the other side does not read.
func (k *socket) send(v any) {
	data, err := json.Marshal(v)
	if err != nil {
		k.server.log.Error("rpc answer cannot be written", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, socketWrite)
	defer cancel()
	if err := k.conn.Write(ctx, websocket.MessageText, data); err != nil {
		k.end()
	}
}
