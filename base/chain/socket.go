package chain

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/firth-project/firth/base/fault"
)

const (
	pingEvery       = 10 * time.Second
	socketReadBytes = 8 << 20 // one head change: at most some 20 tipsets of 5 blocks
)

// errRefused says that the node answers, but not with head changes over a
// websocket: asking again soon is of no use.
var errRefused = errors.New("the node does not notify over websockets")

// frame is a message of go-jsonrpc's websocket: an answer or a notification.
type frame struct {
	ID     *int64            `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	Result json.RawMessage   `json:"result"`
	Error  *rpcError         `json:"error"`
}

// notify subscribes to ChainNotify and gives each message's changes to fn until
// fn refuses, ctx ends or the connection does, which the error then says.
func (c *Client) notify(ctx context.Context, fn func([]HeadChange) bool) error {
	dialCtx, dialed := context.WithTimeout(ctx, callTimeout)
	defer dialed()
	conn, resp, err := websocket.Dial(dialCtx, c.at.socket, &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: c.header()})
	if err != nil {
		return dialFault(resp, err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(socketReadBytes)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go keepAlive(ctx, conn, cancel)
	id := c.next.Add(1)
	req, err := json.Marshal(rpcRequest{Jsonrpc: "2.0", ID: id, Method: "Filecoin.ChainNotify", Params: []any{}})
	if err != nil {
		return fault.Mark(fault.Internal, err)
	}
	if err := conn.Write(ctx, websocket.MessageText, req); err != nil {
		return fault.New(fault.Unavailable, "ChainNotify: %w", err)
	}
	late := time.AfterFunc(callTimeout, func() { cancel(errors.New("the node did not answer in time")) })
	defer late.Stop()
	return readChanges(ctx, conn, id, func(changes []HeadChange) bool {
		late.Stop()
		return fn(changes)
	})
}

// dialFault tells a node that is away from one that refuses the upgrade.
func dialFault(resp *http.Response, err error) error {
	switch {
	case resp == nil:
		return fault.New(fault.Unavailable, "ChainNotify: %w", err)
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		return fault.New(fault.Unavailable, "ChainNotify: the node answered %s", resp.Status)
	}
	return fault.New(fault.Unavailable, "ChainNotify: the node answered %s: %w", resp.Status, errRefused)
}

func readChanges(ctx context.Context, conn *websocket.Conn, id int64, fn func([]HeadChange) bool) error {
	channel := ""
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fault.New(fault.Unavailable, "ChainNotify: %w", err)
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return fault.New(fault.Unavailable, "ChainNotify: the node's message: %w", err)
		}
		switch {
		case f.ID != nil && *f.ID == id && f.Error != nil:
			return fault.New(fault.Unavailable, "%w: %w", f.Error.fault("ChainNotify"), errRefused)
		case f.ID != nil && *f.ID == id:
			channel = string(f.Result)
		case f.Method == "xrpc.ch.close" && len(f.Params) > 0 && string(f.Params[0]) == channel:
			return fault.New(fault.Unavailable, "ChainNotify: the node ended the notifications")
		case f.Method == "xrpc.ch.val" && len(f.Params) > 1 && string(f.Params[0]) == channel:
			var changes []HeadChange
			if err := json.Unmarshal(f.Params[1], &changes); err != nil {
				return fault.New(fault.Unavailable, "ChainNotify: the node's head change: %w", err)
			}
			if !fn(changes) {
				return nil
			}
		}
	}
}

// keepAlive finds out about a connection that is gone without a word.
func keepAlive(ctx context.Context, conn *websocket.Conn, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pingCtx, done := context.WithTimeout(ctx, pingEvery)
		err := conn.Ping(pingCtx)
		done()
		if err != nil {
			cancel(fault.Wrap(err, "ping"))
			return
		}
	}
}
