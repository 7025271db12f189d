package client

import (
	"errors"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// What a broker refuses with an ERROR frame is a stomp.Error, with the frame in it. It is not sent again.
var (
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the client is closed")
	// ErrFull: maxCacheSize octets wait for their receipts, and Options.FailWhenFull is set.
	ErrFull = errors.New("too much waits for receipts (maxCacheSize)")
	// ErrTimeout: no receipt came within the URL's timeout.
	ErrTimeout = errors.New("no receipt came in time (timeout)")
	// ErrInDoubt: it was sent and the answer is not known; it may be carried out or not.
	ErrInDoubt = errors.New("in doubt: it was sent, and may have been carried out")
	// ErrRolledBack: nothing of the transaction was carried out.
	ErrRolledBack = errors.New("the transaction was rolled back: its connection was lost")
	// ErrLostAck: the connection on which the message came is gone, and the acknowledgement with it, unless the broker took it
	// before. The message may come again.
	ErrLostAck = errors.New("the acknowledgement is lost with its connection")
	// ErrUnsubscribed: the subscription was ended by Unsubscribe.
	ErrUnsubscribed = errors.New("unsubscribed")
	// ErrTransactionEnded: the transaction was committed or aborted before.
	ErrTransactionEnded = errors.New("the transaction has ended")
)

// refusal is what an ERROR frame says, as go-stomp tells it.
func refusal(f *frame.Frame) stomp.Error {
	message := f.Header.Get(frame.Message)
	if message == "" {
		message = "ERROR without a message"
	}
	return stomp.Error{Message: message, Frame: f}
}

// stored says whether an ERROR in the place of a RECEIPT says that something was stored all the same.
func stored(f *frame.Frame) bool {
	copies := f.Header.Get("copies")
	return copies != "" && copies != "0"
}

// passing says whether an ERROR speaks of the broker and not of what it was sent: then that is sent again.
func passing(f *frame.Frame) bool {
	switch f.Header.Get("code") {
	case "failover", "shutdown", "not-replicated":
		return true
	}
	return false
}
