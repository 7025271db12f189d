package natskv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	minBackOff   = 50 * time.Millisecond
	maxBackOff   = time.Second
	pingInterval = time.Second // a server that is silent for two to three of them is left
)

// link is the connection to one of the servers, which is made again for ever.
type link struct {
	options Options
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	ended   chan struct{} // closed when run has returned

	mu      sync.Mutex         // guards what follows
	nc      *nats.Conn         // that has let us in; nil: none has
	failure error              // of the newest attempt to connect
	moved   chan struct{}      // closed when the connection is made or lost
	alive   context.Context    // ends when the connection is lost
	die     context.CancelFunc // ends alive
}

func openLink(o Options) *link {
	l := &link{options: o, ended: make(chan struct{}), moved: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.alive, l.die = context.WithCancel(l.ctx)
	go l.run()
	return l
}

// close ends the connection and waits until nobody works on it any more.
func (l *link) close() {
	l.cancel()
	<-l.ended
}

// run keeps a connection until close. The library makes one anew by itself, save where the server has said that it does not
// understand us, or twice that the token is wrong: then it gives up, and there is a new one. The operator may be correcting
// it.
func (l *link) run() {
	defer close(l.ended)
	for round := 1; l.ctx.Err() == nil; round++ {
		given := make(chan struct{})
		nc, err := l.connect(given)
		if err != nil {
			l.failed(err)
		} else {
			select {
			case <-given:
			case <-l.ctx.Done():
			}
			nc.Close()
		}
		select {
		case <-time.After(backOff(round)):
		case <-l.ctx.Done():
		}
	}
}

// connect begins to connect; the library goes on with it in the background, and closes givenUp when it does no more.
func (l *link) connect(givenUp chan<- struct{}) (*nats.Conn, error) {
	o := nats.GetDefaultOptions()
	o.Servers = l.options.URLs
	o.Token = l.options.Token
	o.Name = l.options.Name
	o.Timeout = l.options.Timeout
	o.CustomDialer = dialer{l.ctx, l.options.Timeout}
	o.PingInterval = pingInterval
	o.MaxPingsOut = 2
	o.MaxReconnect = -1
	o.RetryOnFailedConnect = true
	o.ReconnectBufSize = -1 // nothing is kept to be sent later
	o.CustomReconnectDelayCB = backOff
	o.ConnectedCB = l.connected
	o.ReconnectedCB = l.connected
	o.DisconnectedErrCB = l.lost
	o.ReconnectErrCB = func(_ *nats.Conn, err error) { l.failed(err) }
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { l.refused(err) }
	o.ClosedCB = func(*nats.Conn) { close(givenUp) }
	return o.Connect()
}

// dialer ends with the link.
type dialer struct {
	ctx     context.Context
	timeout time.Duration
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, address)
}

// backOff is the time to wait after the list of servers was tried in vain so often.
func backOff(rounds int) time.Duration {
	d := min(minBackOff<<min(rounds, 10), maxBackOff)
	return d/2 + rand.N(d/2)
}

// ready is the connection when there is one, or why there is none.
func (l *link) ready() (*nats.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil:
		return nil, errors.New("the register was closed")
	case l.nc != nil && l.nc.IsConnected():
		return l.nc, nil
	case l.failure != nil:
		return nil, fmt.Errorf("no connection to the register: %w", l.failure)
	}
	return nil, errors.New("no connection to the register yet")
}

// server is the address that we are connected to, without password; empty when there is none.
func (l *link) server() string {
	nc, err := l.ready()
	if err != nil {
		return ""
	}
	return nc.ConnectedUrlRedacted()
}

// changed is closed when the connection is made or lost.
func (l *link) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// untilLost ends when the connection is lost; where there is none, when the next one is.
func (l *link) untilLost() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alive
}

func (l *link) connected(nc *nats.Conn) {
	l.options.Logger.Info("connected to the register's server", zap.String("server", nc.ConnectedUrlRedacted()))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nc, l.failure = nc, nil
	l.wake()
}

func (l *link) lost(nc *nats.Conn, err error) {
	if l.drop(nc, reason(err)) {
		l.options.Logger.Warn("lost the register's server", zap.Error(reason(err)))
	}
}

// drop forgets a connection, unless another one has taken its place or it is our own doing.
func (l *link) drop(nc *nats.Conn, failure error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nc != nc || l.ctx.Err() != nil {
		return false
	}
	l.nc, l.failure = nil, failure
	l.die()
	l.alive, l.die = context.WithCancel(l.ctx)
	l.wake()
	return true
}

// wake tells who waits for a change. The caller holds mu.
func (l *link) wake() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// failed notes why there is no connection; whoever asks for it is told.
func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = reason(err)
}

// refused logs what the server says beside the answers: that we may not do something, for example.
func (l *link) refused(err error) {
	l.options.Logger.Warn("the register's server complains", zap.Error(err))
}

// checkURLs finds addresses that nats.go would not read. It says which, and not what is in it: there may be a password.
func checkURLs(urls []string) error {
	if len(urls) == 0 {
		return errors.New("the register has no servers")
	}
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" {
			return fmt.Errorf("server %d of the register: want nats://HOST:PORT or tls://HOST:PORT", i+1)
		}
	}
	return nil
}

// reason is why a connection was lost, where the library does not tell.
func reason(err error) error {
	if err == nil {
		return errConnectionLost
	}
	return err
}
