package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"baton/config"
	"baton/destinations/selector"
	"baton/network/bridge"

	"go.uber.org/zap"
)

// partingTime is how long a broker that is told to stop waits for its bridges to settle what they have in hand.
const partingTime = 2 * time.Second

// withBridges serves, and has the bridges of the configuration run meanwhile. They use the broker as its clients do, at address. When
// ctx ends, they have so much patience to end before the broker does.
func withBridges(ctx context.Context, cfg config.Config, logger *zap.Logger, address net.Addr, patience time.Duration, serve func(context.Context) error) error {
	if len(cfg.Bridges) == 0 {
		return serve(ctx)
	}
	list, err := bridgesOptions(cfg, logger, address)
	if err != nil {
		return err
	}
	// The broker ends after the bridges do, but not much later than it is told to.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	moving, halt := context.WithCancel(ctx)
	var bridges sync.WaitGroup
	for _, o := range list {
		bridges.Go(func() { bridge.Run(moving, o) })
	}
	ended, parted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		bridges.Wait()
	}()
	go func() {
		defer close(parted)
		defer end()
		<-moving.Done()
		select {
		case <-ended:
		case <-time.After(patience):
		}
	}()
	err = serve(serving)
	halt()
	<-ended
	<-parted
	return err
}

func bridgesOptions(cfg config.Config, logger *zap.Logger, here net.Addr) ([]bridge.Options, error) {
	list := make([]bridge.Options, len(cfg.Bridges))
	for i := range cfg.Bridges {
		o, err := bridgeOptions(cfg, i, here)
		if err != nil {
			return nil, err
		}
		o.Logger = logger
		list[i] = o
	}
	return list, nil
}

// bridgeOptions says an entry of the list bridges in the words of package bridge. Errors name the key.
func bridgeOptions(cfg config.Config, i int, here net.Addr) (bridge.Options, error) {
	b := cfg.Bridges[i]
	passcode, err := cfg.BridgePasscode(i)
	if err != nil {
		return bridge.Options{}, err
	}
	secured, err := bridgeTLS(fmt.Sprintf("bridges[%d].tls.", i), b)
	if err != nil {
		return bridge.Options{}, err
	}
	o := bridge.Options{
		Name: b.Name, Selector: b.Selector, IDHeader: b.IDHeader, Window: b.Window, HeartBeat: b.Heartbeat,
		Source: bridge.Side{Address: b.Address, Login: b.Login, Passcode: passcode.Reveal(), Host: b.Host, TLS: secured},
		Target: bridge.Side{Address: reachable(here)},
	}
	if b.Out() {
		o.Source, o.Target = o.Target, o.Source
	}
	o.Source.Destination, o.Target.Destination = b.Source, b.Destination
	for _, h := range b.Headers {
		o.Headers = append(o.Headers, bridge.Rename{From: h.From, To: h.To})
	}
	return o, nil
}

// reachable is an address of this machine under which a listener is reached from it.
func reachable(listener net.Addr) string {
	tcp, ok := listener.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return listener.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port)) // where [::] listens too
}

// bridgeTLS is nil for a broker that is spoken to in the open.
func bridgeTLS(at string, b config.Bridge) (*tls.Config, error) {
	if !b.TLS.Enabled {
		return nil, nil
	}
	host, _, _ := net.SplitHostPort(b.Address)
	if b.TLS.ServerName != "" {
		host = b.TLS.ServerName
	}
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if b.TLS.CA != "" {
		pem, err := os.ReadFile(b.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("%sca: %w", at, err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%sca: %s: %w", at, b.TLS.CA, errors.New("no certificate in PEM is in it"))
		}
	}
	if b.TLS.Cert != "" {
		own, err := tls.LoadX509KeyPair(b.TLS.Cert, b.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("%scert: %w", at, err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

// bridges checks what of them is of this broker: what they read with a selector, and what they write to.
func (c *nameCheck) bridges(list []config.Bridge) {
	for i, b := range list {
		at := fmt.Sprintf("bridges[%d].", i)
		switch {
		case b.Direction == "in" && b.Destination != "":
			c.destination(at+"destination", b.Destination)
		case b.Out() && b.Source != "":
			c.pattern(at+"source", b.Source)
			if _, err := selector.Parse(b.Selector); err != nil {
				c.add(at+"selector", "%s", err)
			}
		}
	}
}
