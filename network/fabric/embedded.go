package fabric

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	clusterName = "baton"
	routeUser   = "baton"

	// nats-server begins with routes only after it has tried to listen for clients (with DontListen it never does), whether it could
	// or not. There is no such port, so it cannot.
	noHost, noPort = "127.0.0.1", 65536

	// Brokers found by gossip are dialled once a second for so long. Who is configured is dialled for ever.
	gossipRetries = 24 * 60 * 60
)

// embed runs a server and connects to it.
func (f *Fabric) embed(o Options) error {
	options, err := serverOptions(o)
	if err != nil {
		return err
	}
	if err := mayListen(o.Listen); err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	f.server = s
	f.peers.configure(o.Routes, time.Now())
	failed := make(chan string, 1)
	s.SetLoggerV2(newLogger(o.Logger, failed, f.peers.failed, o.Secret, passwordOf(o.Secret)), false, false, false)
	s.Start()
	if err := f.join(failed); err != nil {
		_ = f.Close()
		return err
	}
	f.work.Go(f.watch)
	return nil
}

// join waits until the server listens, and connects within this process.
func (f *Fabric) join(failed <-chan string) error {
	deadline := time.Now().Add(startTimeout)
	for f.server.ClusterAddr() == nil {
		select {
		case text := <-failed:
			return errors.New(text)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("the server of the network does not start")
		}
	}
	o := connectionOptions(f.logger)
	o.InProcessServer = f.server
	var err error
	f.conn, err = o.Connect()
	return err
}

// watch logs which peers come and go, and looks up the addresses of those that were configured by name.
func (f *Fabric) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.work.Go(func() {
		<-f.stop
		cancel()
	})
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		f.peers.resolve(ctx, time.Now())
		f.Routes()
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
	}
}

func serverOptions(o Options) (*server.Options, error) {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	tlsConfig, err := o.TLS.both()
	if err != nil {
		return nil, err
	}
	cluster := server.ClusterOpts{
		Name:           clusterName,
		Host:           host,
		Port:           orRandom(int(port)),
		Advertise:      o.Advertise,
		NoAdvertise:    true, // of an address for clients: there is none
		AuthTimeout:    connectTimeout.Seconds(),
		TLSConfig:      tlsConfig,
		TLSTimeout:     connectTimeout.Seconds(),
		ConnectRetries: gossipRetries,
		PoolSize:       1,
		Compression:    server.CompressionOpts{Mode: server.CompressionOff},
		PingInterval:   pingInterval,
		MaxPingsOut:    maxPingsOut,
		WriteDeadline:  writeDeadline,
		WriteTimeout:   server.WriteTimeoutPolicyClose,
	}
	if o.Secret != "" {
		cluster.Username, cluster.Password = routeUser, passwordOf(o.Secret)
	}
	return &server.Options{
		ServerName:            nameOfServer(o.Name, port),
		Host:                  noHost,
		Port:                  noPort,
		Cluster:               cluster,
		Routes:                routeURLs(o.Routes, cluster),
		MaxPayload:            maxPayloadBytes,
		MaxPending:            maxPendingBytes,
		WriteDeadline:         writeDeadline,
		MaxClosedClients:      16,
		NoSystemAccount:       true,
		NoSigs:                true,
		ConnectErrorReports:   1, // each attempt: the logger leaves out what it has said
		ReconnectErrorReports: 1,
	}, nil
}

// routeURLs are the addresses with what the other side asks for.
func routeURLs(routes []string, cluster server.ClusterOpts) []*url.URL {
	list := make([]*url.URL, len(routes))
	for i, route := range routes {
		list[i] = &url.URL{Scheme: "nats-route", Host: route}
		if cluster.Username != "" {
			list[i].User = url.UserPassword(cluster.Username, cluster.Password)
		}
	}
	return list
}

// passwordOf is what travels in the place of a secret. It is hexadecimal: nats-server takes what begins with $2a$ for a hash.
func passwordOf(secret string) string {
	if secret == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("baton network route"))
	return hex.EncodeToString(mac.Sum(nil))
}

// nameOfServer is MEMBER.PORT.UNIQUE: names of servers must differ, and both nodes of a pair have the name of one member. The port
// tells which of the configured addresses a peer has that has connected to us.
func nameOfServer(member string, port uint64) string {
	return fmt.Sprintf("%s.%d.%s", member, port, rand.Text())
}

func splitName(name string) (member, port string) {
	member, rest, _ := strings.Cut(name, ".")
	port, _, _ = strings.Cut(rest, ".")
	return member, port
}

// mayListen says what is wrong with an address. The server has only words for that.
func mayListen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

// orRandom says "any free port" as nats-server does, to which 0 is no cluster.
func orRandom(port int) int {
	if port == 0 {
		return server.RANDOM_PORT
	}
	return port
}

// connectionOptions are those of every connection: it is made again for ever, and keeps nothing to be sent later.
func connectionOptions(logger *zap.Logger) nats.Options {
	o := nats.GetDefaultOptions()
	o.Timeout = connectTimeout
	o.PingInterval = time.Second
	o.MaxPingsOut = 2
	o.MaxReconnect = -1
	o.ReconnectWait = 200 * time.Millisecond
	o.ReconnectJitter = 100 * time.Millisecond
	o.ReconnectJitterTLS = 100 * time.Millisecond
	o.RetryOnFailedConnect = true
	o.IgnoreAuthErrorAbort = true
	o.ReconnectBufSize = -1
	o.AsyncErrorCB = func(_ *nats.Conn, s *nats.Subscription, err error) { complain(logger, s, err) }
	return o
}
