package arbiter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"baton/failover/natskv"
	"baton/journal"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Limits: what a thousand pairs need, and not more.
const (
	maxConnections   = 4096
	maxSubscriptions = 8         // of a connection, which needs one for its answers
	maxPayloadBytes  = 8 << 10   // a record has at most 1 KiB
	maxPendingBytes  = 1 << 20   // to a broker that does not read
	maxMemoryBytes   = 1 << 20   // of JetStream: nothing is kept in memory alone
	maxStoreBytes    = 256 << 20 // of JetStream: the bucket may have 16 MiB of them
)

const (
	startTimeout = 30 * time.Second
	checkEvery   = 2 * time.Second
)

// Options of an arbiter. All are needed, but the Logger.
type Options struct {
	Listen string // HOST:PORT; port 0: any free one
	Data   string // directory, made if missing
	Bucket string
	Token  string      // that brokers must send
	Logger *zap.Logger // nil: none
}

// Arbiter is a server at work.
type Arbiter struct {
	server *server.Server
	own    *nats.Conn
	bucket string
	lock   io.Closer
	failed <-chan string
}

// Start gives an arbiter that answers: the bucket has been read. Errors are of options, of the directory, which may be in use
// (journal.ErrLocked), or of the address.
func Start(ctx context.Context, o Options) (*Arbiter, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Token == "" {
		return nil, errors.New("arbiter: there is no token: it would let everybody in")
	}
	lock, err := lockDirectory(o.Data)
	if err != nil {
		return nil, err
	}
	a, err := start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	a.lock = lock
	return a, nil
}

func lockDirectory(dir string) (io.Closer, error) {
	var fsys journal.OS
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("arbiter: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("arbiter: directory %s: %w", dir, err)
	}
	return lock, nil
}

func start(ctx context.Context, o Options) (*Arbiter, error) {
	door := newDoor(o.Token, o.Bucket)
	options, err := serverOptions(o, door)
	if err != nil {
		return nil, err
	}
	if err := mayListen(o.Listen); err != nil {
		return nil, fmt.Errorf("arbiter: %w", err)
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("arbiter: %w", err)
	}
	failed := make(chan string, 1)
	s.SetLoggerV2(&logger{o.Logger.Sugar(), failed}, false, false, false)
	a := &Arbiter{server: s, bucket: o.Bucket, failed: failed}
	s.Start()
	if err := a.prepare(ctx, door.own); err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

// mayListen says what is wrong with an address. The server has only words for that.
func mayListen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

func serverOptions(o Options, d *door) (*server.Options, error) {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("arbiter: listen on %q: %w", o.Listen, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("arbiter: listen on %q: %w", o.Listen, err)
	}
	return &server.Options{
		ServerName: "baton-arbiter",
		Host:       host,
		Port:       orRandom(int(port)),

		JetStream:              true,
		StoreDir:               o.Data,
		SyncAlways:             true,
		JetStreamMaxMemory:     maxMemoryBytes,
		JetStreamMaxStore:      maxStoreBytes,
		DisableJetStreamBanner: true,

		CustomClientAuthentication: d,
		NoSystemAccount:            true,
		NoSigs:                     true,

		MaxConn:          maxConnections,
		MaxSubs:          maxSubscriptions,
		MaxPayload:       maxPayloadBytes,
		MaxPending:       maxPendingBytes,
		MaxClosedClients: 16,
		PingInterval:     10 * time.Second,
	}, nil
}

// orRandom says "any free port" as nats-server does, to which 0 is the port of NATS.
func orRandom(port int) int {
	if port == 0 {
		return server.RANDOM_PORT
	}
	return port
}

// prepare waits until JetStream answers and has the bucket.
func (a *Arbiter) prepare(ctx context.Context, token string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := a.listening(ctx); err != nil {
		return fmt.Errorf("arbiter: %w", err)
	}
	if a.own, err = nats.Connect("", nats.InProcessServer(a.server), nats.Token(token), nats.Timeout(startTimeout)); err != nil {
		return fmt.Errorf("arbiter: %w", a.failure(err))
	}
	js, err := jetstream.New(a.own)
	if err != nil {
		return fmt.Errorf("arbiter: %w", err)
	}
	if err := natskv.MakeBucket(ctx, js, a.bucket, 1); err != nil {
		return fmt.Errorf("arbiter: %w", a.failure(err))
	}
	return nil
}

// listening waits until the server takes connections.
func (a *Arbiter) listening(ctx context.Context) error {
	for !a.server.ReadyForConnections(50 * time.Millisecond) {
		if err := a.failure(ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// failure is what the server has said last that it cannot go on for, or else err.
func (a *Arbiter) failure(err error) error {
	select {
	case text := <-a.failed:
		return errors.New(text)
	default:
		return err
	}
}

// Address is where brokers connect, HOST:PORT.
func (a *Arbiter) Address() string { return a.server.Addr().String() }

// Wait waits until ctx ends, and returns nil then, or until the server has failed. [Arbiter.Close] is still due.
func (a *Arbiter) Wait(ctx context.Context) error {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case text := <-a.failed:
			return fmt.Errorf("arbiter: %s", text)
		case <-ticker.C:
			if !a.server.JetStreamEnabled() {
				return errors.New("arbiter: JetStream has failed; the log says why")
			}
		}
	}
}

// Close ends the server, and waits for it. What was confirmed is on disk already.
func (a *Arbiter) Close() error {
	a.stop()
	return a.lock.Close()
}

func (a *Arbiter) stop() {
	if a.own != nil {
		a.own.Close()
	}
	a.server.Shutdown()
	a.server.WaitForShutdown()
}
