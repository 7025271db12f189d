package fabric

import (
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// dial connects to external servers, in the background.
func (f *Fabric) dial(o Options) error {
	tlsConfig, err := o.TLS.client()
	if err != nil {
		return err
	}
	options := connectionOptions(f.logger)
	options.Servers = o.URLs
	options.Token = o.Token
	options.Name = "baton " + o.Name
	if tlsConfig != nil { // who has given a CA wants no connection without TLS
		options.Secure, options.TLSConfig = true, tlsConfig
	}
	options.ConnectedCB = f.connected
	options.ReconnectedCB = f.connected
	options.DisconnectedErrCB = f.lost
	options.ReconnectErrCB = func(_ *nats.Conn, err error) { f.peers.refused(err) }
	f.peers.external(o.URLs, time.Now())
	if f.conn, err = options.Connect(); err != nil {
		return err
	}
	f.work.Go(f.watchServers)
	return nil
}

// watchServers logs why there is no connection, each reason once a minute. Not of all of them nats.go calls back.
func (f *Fabric) watchServers() {
	lines := newLogger(f.logger, nil, nil)
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-ticker.C:
			if err := f.conn.LastError(); err != nil && !f.conn.IsConnected() {
				f.peers.refused(err)
				if lines.isNew(err.Error(), now) {
					f.logger.Warn("no connection to the NATS servers of the network", zap.Error(err))
				}
			}
		}
	}
}

func (f *Fabric) connected(nc *nats.Conn) {
	f.peers.moved(nil, time.Now())
	f.logger.Info("connected to a NATS server of the network", zap.String("server", nc.ConnectedUrlRedacted()))
}

func (f *Fabric) lost(_ *nats.Conn, err error) {
	select {
	case <-f.stop:
		return
	default:
	}
	f.peers.moved(err, time.Now())
	f.logger.Warn("lost the NATS server of the network", zap.Error(err))
}

// complain logs what goes wrong on a connection that stays, such as a subscriber that is too slow.
func complain(logger *zap.Logger, s *nats.Subscription, err error) {
	if s == nil {
		logger.Warn("the network complains", zap.Error(err))
		return
	}
	logger.Warn("the network complains", zap.String("subject", s.Subject), zap.Error(err))
}

// redacted is an address without its login, and with its port.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(hidden)" // what is no URL may have a password anywhere
	}
	u.User = nil
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "4222") // as nats.go has it
	}
	return u.String()
}
