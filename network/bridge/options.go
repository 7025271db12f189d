package bridge

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"go.uber.org/zap"
)

// Options of a Bridge. What is zero has the default that its field names.
type Options struct {
	Name           string // of the bridge: part of the deduplication ids that it makes
	Source, Target Side
	Selector       string        // of the source; empty: all messages
	Headers        []Rename      // in this order
	IDHeader       string        // of the source, that names a message for ever; empty: message-id, and none with RabbitMQ
	Window         int           // messages in hand; 0: 256
	WindowBytes    int64         // of their bodies, save that one always may be; 0: 32 MiB
	MaxBodyBytes   int           // of one message; 0: 64 MiB
	HeartBeat      time.Duration // asked of both sides; 0: 10 s
	Timeout        time.Duration // of each step of connecting, and of a write; 0: 10 s
	ReceiptTimeout time.Duration // how long a SEND may be without its RECEIPT; 0: 30 s
	RetryLeast     time.Duration // the first wait before connecting anew; 0: 200 ms
	RetryMost      time.Duration // waits double up to here; 0: 10 s
	Logger         *zap.Logger   // nil: none
}

// Side is one of the two brokers.
type Side struct {
	Address     string // HOST:PORT
	Destination string
	Login       string
	Passcode    string
	Host        string      // of CONNECT, the virtual host; empty: the host of Address
	TLS         *tls.Config // nil: plain
	// Dial connects; nil: over TCP to Address.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Rename copies a header of the source under another name; it drops it where To is empty.
type Rename struct{ From, To string }

func (o Options) withDefaults() Options {
	o.Window = cmp.Or(o.Window, 256)
	o.WindowBytes = cmp.Or(o.WindowBytes, 32<<20)
	o.MaxBodyBytes = cmp.Or(o.MaxBodyBytes, 64<<20)
	o.HeartBeat = cmp.Or(o.HeartBeat, 10*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.ReceiptTimeout = cmp.Or(o.ReceiptTimeout, 30*time.Second)
	o.RetryLeast = cmp.Or(o.RetryLeast, 200*time.Millisecond)
	o.RetryMost = cmp.Or(o.RetryMost, 10*time.Second)
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	o.Logger = o.Logger.Named("bridge").With(zap.String("bridge", o.Name))
	return o
}
