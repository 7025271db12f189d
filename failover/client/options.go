package client

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3/frame"
)

// Options of Dial. The zero value is the default. Callbacks must return soon: the client stands still meanwhile, so they must
// not wait for it. Those about connections are called one at a time, OnLostAck by any goroutine.
type Options struct {
	Login    string
	Passcode Secret
	ClientID string // names durable subscriptions
	Host     string // the virtual host; "": the name in the address

	// HeartBeat is how often each side is to be heard. Twice that long without a sign, and a broker is taken for dead. 0: the
	// URL's, or 1 s; less than 0: none.
	HeartBeat time.Duration

	// NoDeduplication: messages without a deduplication-id do not get one. What is sent again may then be there twice.
	NoDeduplication bool
	// FailWhenFull: what finds no room in the cache fails with ErrFull, in place of waiting.
	FailWhenFull bool
	// Prefetch is how many messages a subscription has without an acknowledgement at most, unless its own header says; 0: 100.
	Prefetch int
	// MaxMessageBytes bounds the body of a message; 0: 128 MiB. A broker that sends more is left.
	MaxMessageBytes int

	OnConnect    func(Connected)
	OnDisconnect func(error) // why
	// OnRetry is called when warnAfterReconnectAttempts more attempts were in vain, with their number and reasons.
	OnRetry func(attempts int, why error)
	// OnLostAck is called for each acknowledgement that did not go out, or may not have arrived, with ErrLostAck, or with why
	// the broker refused it.
	OnLostAck func(*Message, error)
}

// Connected is said of each connection.
type Connected struct {
	Address    string
	Generation uint64        // 1, 2, 3…
	Header     *frame.Header // of CONNECTED
}

const (
	defaultHeartBeat  = time.Second
	defaultPrefetch   = 100
	defaultMaxMessage = 128 << 20
	maxPrefetch       = 65535
)

// complete checks o and gives what is zero its default.
func (o Options) complete(u *URL) (Options, error) {
	for _, said := range []struct{ name, value string }{
		{"login", o.Login}, {"passcode", string(o.Passcode)}, {"client-id", o.ClientID}, {"host", o.Host},
	} {
		if strings.ContainsAny(said.value, "\n\r\x00") {
			return o, fmt.Errorf("%s has a line break or NUL in it, which CONNECT cannot say", said.name)
		}
	}
	if o.Prefetch < 0 || o.Prefetch > maxPrefetch {
		return o, fmt.Errorf("prefetch: %d is not within 1 and %d", o.Prefetch, maxPrefetch)
	}
	if o.MaxMessageBytes < 0 {
		return o, fmt.Errorf("the bound of a message: %d is less than 0", o.MaxMessageBytes)
	}
	o.HeartBeat = max(cmp.Or(o.HeartBeat, u.HeartBeat, defaultHeartBeat), 0).Truncate(time.Millisecond)
	o.Prefetch = cmp.Or(o.Prefetch, defaultPrefetch)
	o.MaxMessageBytes = cmp.Or(o.MaxMessageBytes, defaultMaxMessage)
	return o, nil
}

// A Secret is not shown by fmt.
type Secret string

// Format writes that there is one, and not what it is.
func (s Secret) Format(out fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(out, "(secret)")
	}
}
