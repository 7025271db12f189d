package fabric

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	maxPayloadBytes = 8 << 20  // of one message of NATS
	maxPendingBytes = 64 << 20 // to one route or client; who sends is slowed down at three quarters of it
	pingInterval    = 500 * time.Millisecond
	maxPingsOut     = 3 // a silent peer is left after three to four intervals
	writeDeadline   = 4 * time.Second
	startTimeout    = 30 * time.Second
	connectTimeout  = 2 * time.Second
	watchInterval   = 250 * time.Millisecond
)

// Options of a fabric.
type Options struct {
	Name      string      // of this member
	Listen    string      // for routes, HOST:PORT; port 0: any free one
	Advertise string      // HOST:PORT that the others are told; empty: where they see us
	Routes    []string    // HOST:PORT of other brokers
	Secret    string      // that all brokers know; empty: everybody who reaches Listen is let in
	URLs      []string    // of NATS servers; Listen, Advertise, Routes and Secret are not used then
	Token     string      // that these servers ask for
	TLS       TLS         // of routes, or to the servers
	Logger    *zap.Logger // nil: none
}

// Route is the way to another broker, or to a server of an external cluster.
type Route struct {
	Address    string    // HOST:PORT as it was configured, or where a broker that was found is connected from; of a server its URL, without password
	Name       string    // the other member's; empty: not known. Of a server, what it calls itself
	Configured bool      // or else it was found by gossip, or connects to us
	Connected  bool      // messages pass
	Since      time.Time // of Connected, or of not being so
	Error      string    // of the newest attempt to connect, where it is known; without secrets
}

// Fabric is a server at work, or a connection to others.
type Fabric struct {
	logger *zap.Logger
	server *server.Server // nil: external
	conn   *nats.Conn
	peers  peers
	look   sync.Mutex    // held while the routes are looked at, so that what is older is not told after what is newer
	stop   chan struct{} // closed by Close
	work   sync.WaitGroup
	once   sync.Once
}

// Open runs a server, or dials those of o.URLs; it does not wait for peers. Errors are of the options, of the files of TLS and of
// the address.
func Open(o Options) (*Fabric, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Name == "" {
		return nil, errors.New("network: this member has no name")
	}
	f := &Fabric{logger: o.Logger, stop: make(chan struct{})}
	var err error
	if len(o.URLs) > 0 {
		err = f.dial(o)
	} else {
		err = f.embed(o)
	}
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	return f, nil
}

// Conn is the connection of this broker. It is made again whenever it is lost, until Close.
func (f *Fabric) Conn() *nats.Conn { return f.conn }

// Addr is where routes are accepted; nil with external servers.
func (f *Fabric) Addr() net.Addr {
	if f.server == nil {
		return nil
	}
	if address := f.server.ClusterAddr(); address != nil {
		return address
	}
	return nil
}

// Routes are the peers that were configured, in their order, then those that were found; or the external servers.
func (f *Fabric) Routes() []Route {
	if f.server == nil {
		return f.peers.servers(f.conn)
	}
	f.look.Lock() // and not that of peers: nats-server logs, and so takes it, under locks of its own
	defer f.look.Unlock()
	return f.peers.look(connectedRoutes(f.server), time.Now(), f.logger)
}

// Close ends the connection and the server, and waits for both. What was published and not yet sent is lost.
func (f *Fabric) Close() error {
	f.once.Do(func() {
		close(f.stop)
		f.work.Wait()
		if f.conn != nil {
			f.conn.Close()
		}
		if f.server != nil {
			f.server.Shutdown()
			f.server.WaitForShutdown()
		}
	})
	return nil
}
