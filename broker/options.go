package broker

import (
	"time"

	"go.uber.org/zap"

	"baton/broker/stomp"
	"baton/destinations"
)

// Options sets the server's limits and times. Zero values are the defaults
// that are named, except where 0 is said to mean something else.
type Options struct {
	Logger *zap.Logger // nil: none

	Version    string // told to clients in the server header
	HideServer bool   // leave the server header out

	Machine destinations.Options // but for its MemoryBytes

	// MemoryBytes is what messages may take, wherever they are: in destinations,
	// in open transactions, under way. Where there is no room for a stored one in
	// a destination, it is only in the log. A quarter is kept for those that come,
	// and an eighth for those that are read from the log and not yet written; a
	// single one that is larger still goes. 0: 1 GiB.
	MemoryBytes int64

	ConnectTimeout      time.Duration // until CONNECT is complete; 0: 5 s
	WriteTimeout        time.Duration // until a client takes an octet, see also maxHold; 0: 10 s
	Linger              time.Duration // for the last frame to arrive before the socket closes; 0: 2 s
	IdleTimeout         time.Duration // for clients without heart-beats; 0: none
	ShutdownTimeout     time.Duration // for all clients to be told, and then for the log to become durable; 0: 10 s
	MaxConnections      int           // 0: 20,000
	MaxConnectionsPerIP int           // 0: 1000
	// Relays says whether a host hands on connections of many clients, which it counts itself: MaxConnectionsPerIP is not for
	// those. It must not block. nil: none does.
	Relays func(host string) bool

	HeartBeat HeartBeat

	ConnectLimits stomp.Limits  // of the CONNECT frame; zero: stomp.BeforeConnect
	FrameLimits   stomp.Limits  // of all others; zero: stomp.AfterConnect
	FrameGrace    time.Duration // in each such time a frame must be complete or keep MinRate; 0: 30 s, negative: no rule
	MinRate       int           // octets a second; 0: 1024
	MaxNameBytes  int           // of a destination; 0: 255
	MailboxBytes  int           // commands that wait for the engine; 0: 32 MiB; at most a 16th of MemoryBytes

	OnDiskFull DiskFullPolicy // the zero value: RefuseSends

	Transactions Transactions

	// Permit says whether anything may be written to clients; nil: always.
	Permit Permit
	// Connected returns further headers of CONNECTED, as they are at the moment; nil:
	// there are none. It must not block. An octet that CONNECTED cannot have is left
	// out: NUL, CR, LF.
	Connected func() []Header
	// Brokers is how many there are that could keep what is stored; 0: one.
	Brokers int
	// Copies returns how many brokers will keep what is stored at the moment, for the
	// header min-copies; nil: one will. It must not block.
	Copies func() int
	// Kept returns how many do keep all that is durable up to a Seq; nil: one does. It
	// knows of what Durable is called with before that is, and must not block.
	Kept func(seq uint64) int
	// MinCopies is how many must keep whatever is acknowledged, and each persistent
	// message, even if it says less; 0: one. While fewer can, nobody can connect.
	MinCopies int

	CheckpointEvery time.Duration // one is written when the log was at rest for so long; 0: 10 s

	// Progress is called now and then while Recover reads the log, with the
	// entries that were read and those to be read.
	Progress func(done, total uint64)
	// OnStored is called when Recover ends, and then, and while Follow runs, at most each second, with
	// about how many messages are stored: their index takes memory beyond
	// MemoryBytes. It must not block.
	OnStored func(messages int)
}

// A Header is one of a frame, not escaped.
type Header struct{ Name, Value string }

// HeartBeat sets what the server offers and asks for (STOMP 1.2,
// "Heart-beating").
type HeartBeat struct {
	Send    time.Duration // smallest interval that is promised; 0: none is sent
	Receive time.Duration // smallest interval that is asked for; 0: none is asked for
	Grace   float64       // a client is cut after so many of its intervals; 0: 2
}

// Transactions limits what one session may keep open.
type Transactions struct {
	MaxOpen     int           // 0: 16
	MaxFrames   int           // in one; 0: 10,000
	MaxBytes    int           // of SENDs in one; 0: 64 MiB
	IdleTimeout time.Duration // 0: 5 min
}

// Parts of MemoryBytes, as divisors.
const (
	comingShare = 4
	fetchShare  = 8
)

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	setDefault(&o.MemoryBytes, 1<<30)
	o.Machine.MemoryBytes = o.MemoryBytes - o.MemoryBytes/comingShare - o.MemoryBytes/fetchShare
	o.Machine = o.Machine.WithDefaults()
	o.Machine.Fields = fieldsOf
	setDefault(&o.ConnectTimeout, 5*time.Second)
	setDefault(&o.WriteTimeout, 10*time.Second)
	setDefault(&o.Linger, 2*time.Second)
	setDefault(&o.ShutdownTimeout, 10*time.Second)
	setDefault(&o.MaxConnections, 20_000)
	setDefault(&o.MaxConnectionsPerIP, 1000)
	setDefault(&o.HeartBeat.Grace, 2)
	setDefault(&o.ConnectLimits, stomp.BeforeConnect())
	setDefault(&o.FrameLimits, stomp.AfterConnect())
	setDefault(&o.FrameGrace, 30*time.Second)
	setDefault(&o.MinRate, 1024)
	setDefault(&o.MaxNameBytes, 255)
	setDefault(&o.MailboxBytes, 32<<20)
	// The mailbox and the batch that was in it are the larger part of what is
	// under way.
	o.MailboxBytes = min(o.MailboxBytes, int(o.MemoryBytes/16))
	setDefault(&o.Transactions.MaxOpen, 16)
	setDefault(&o.Transactions.MaxFrames, 10_000)
	setDefault(&o.Transactions.MaxBytes, 64<<20)
	setDefault(&o.Transactions.IdleTimeout, 5*time.Minute)
	setDefault(&o.CheckpointEvery, 10*time.Second)
	if o.Progress == nil {
		o.Progress = func(uint64, uint64) {}
	}
	if o.OnStored == nil {
		o.OnStored = func(int) {}
	}
	return o
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
