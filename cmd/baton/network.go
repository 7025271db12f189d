package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"

	"baton/broker"
	"baton/config"
	"baton/destinations"
	"baton/network"
	"baton/network/fabric"

	"go.uber.org/zap"
)

// A member is this process in the network of its broker: it joins whenever it serves clients.
type member struct {
	cfg     config.Network
	fabric  *fabric.Fabric // nil: there is no network
	include []destinations.Pattern
	exclude []destinations.Pattern
	static  []network.Static
	data    string // directory
	logger  *zap.Logger
}

// joinNetwork has the brokers of the network meet, if the configuration names one.
func joinNetwork(cfg config.Config, logger *zap.Logger) (*member, error) {
	m, err := newMember(cfg, logger)
	if err != nil || !cfg.Network.Enabled() {
		return m, err
	}
	o, err := fabricOptions(cfg.Network, logger)
	if err != nil {
		return nil, err
	}
	m.fabric, err = fabric.Open(o)
	return m, err
}

func newMember(cfg config.Config, logger *zap.Logger) (*member, error) {
	m := &member{cfg: cfg.Network, data: cfg.Data.Dir, logger: logger}
	names := destinations.Names{MaxBytes: cfg.Limits.DestinationName}
	for _, list := range []struct {
		patterns *[]destinations.Pattern
		texts    []string
	}{{&m.include, cfg.Network.Include}, {&m.exclude, cfg.Network.Exclude}} {
		for _, text := range list.texts {
			p, err := names.ParsePattern(text)
			if err != nil {
				return nil, err // BUG: it was checked
			}
			*list.patterns = append(*list.patterns, p)
		}
	}
	for _, s := range cfg.Network.Static {
		p, err := names.ParsePattern(s.Destination)
		if err != nil {
			return nil, err // BUG: it was checked
		}
		m.static = append(m.static, network.Static{Queues: p, To: s.To})
	}
	return m, nil
}

// settings says the configuration in the words of package network.
func (m *member) settings(life, incarnation string) network.Settings {
	return network.Settings{
		Member: m.cfg.Name, Life: life, Incarnation: incarnation, Silence: m.cfg.Silence, Timeout: m.cfg.TransferTimeout, Forwards: m.forwards,
		Static: m.static, MaxHops: m.cfg.MaxHops,
	}
}

// fabricOptions says the configuration in the words of package fabric.
func fabricOptions(cfg config.Network, logger *zap.Logger) (fabric.Options, error) {
	secret, err := cfg.ReadSecret()
	if err != nil {
		return fabric.Options{}, err
	}
	token, err := cfg.ReadToken()
	if err != nil {
		return fabric.Options{}, err
	}
	urls := make([]string, len(cfg.URLs))
	for i, u := range cfg.URLs {
		urls[i] = u.Reveal()
	}
	return fabric.Options{
		Name: cfg.Name, Listen: cfg.Listen, Advertise: cfg.Advertise, Routes: cfg.Routes, Secret: secret.Reveal(),
		URLs: urls, Token: token.Reveal(), TLS: fabric.TLS(cfg.TLS), Logger: logger,
	}, nil
}

// forwards says whether messages of d may leave this broker.
func (m *member) forwards(d destinations.Destination) bool {
	matches := func(patterns []destinations.Pattern) bool {
		for _, p := range patterns {
			if p.Matches(d) {
				return true
			}
		}
		return false
	}
	return !matches(m.exclude) && (len(m.include) == 0 || matches(m.include))
}

// during is in the network for as long as serve takes, as the broker server of this epoch of a journal. life is whose data it has.
func (m *member) during(ctx context.Context, server *broker.Server, life, journalID [16]byte, epoch uint32, serve func() error) error {
	if m.fabric == nil {
		return serve()
	}
	ctx, leave := context.WithCancel(ctx)
	keeper := &network.Keeper{Logger: m.logger, NewNode: func(number int, mode network.Mode) *network.Node {
		settings := m.settings(hex.EncodeToString(life[:]), fmt.Sprintf("%08x-%s-%04d", epoch, brokerName(journalID), number))
		settings.Mode = mode
		return network.NewNode(network.Options{
			Settings: settings, Conn: m.fabric.Conn(), Broker: server.NewAgent("network"), Logger: m.logger,
		})
	}}
	control, err := network.ListenControl(m.data)
	if err != nil {
		m.logger.Warn("the network: operators cannot ask about it", zap.Error(err))
	}
	var running sync.WaitGroup
	running.Go(func() { keeper.Run(ctx) })
	running.Go(func() {
		if control == nil {
			return
		}
		if err := network.ServeControl(ctx, control, keeper, m.logger); err != nil {
			m.logger.Warn("the network: operators are not answered any more", zap.Error(err))
		}
	})
	err = serve()
	leave()
	running.Wait()
	return err
}

// close leaves the network for good.
func (m *member) close() {
	if m.fabric != nil {
		if err := m.fabric.Close(); err != nil {
			m.logger.Warn("the network does not end well", zap.Error(err))
		}
	}
}
