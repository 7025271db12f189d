package fabric

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	resolveEvery   = 5 * time.Second
	resolveTimeout = time.Second
	betterReason   = 3 * time.Second // longer than from one attempt to the next
)

// peers know who was configured, who is connected and why others are not.
type peers struct {
	mu         sync.Mutex // guards what follows
	configured []*peer    // or servers, when external
	connected  map[string]remote
	resolved   time.Time // when resolve was at work last
	since      time.Time // external: of the connection, or of its loss
	failure    error     // external: of the newest attempt
}

// peer is a configured address.
type peer struct {
	address string
	places  []string // HOST:PORT with addresses in the place of names
	id      string   // of who answers there; empty: nobody does
	member  string   // its name, also when it is lost
	since   time.Time
	failure string
	failed  time.Time // when failure was told
}

// remote is a server that has a route with this one.
type remote struct {
	id, name  string
	address   string // of its end of the connection
	solicited bool   // by us
	start     time.Time
}

func connectedRoutes(s *server.Server) []remote {
	routes, err := s.Routez(nil)
	if err != nil {
		return nil
	}
	var list []remote
	for _, r := range routes.Routes {
		address := net.JoinHostPort(r.IP, strconv.Itoa(r.Port))
		list = append(list, remote{r.RemoteID, r.RemoteName, address, r.DidSolicit, r.Start})
	}
	slices.SortFunc(list, func(a, b remote) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return list
}

func (p *peers) configure(routes []string, now time.Time) {
	p.connected = map[string]remote{}
	for _, address := range routes {
		known := &peer{address: address, since: now}
		if host, _, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) != nil {
			known.places = []string{address}
		}
		p.configured = append(p.configured, known)
	}
}

// resolve looks up the names among the configured addresses, now and then. Only [Fabric.watch] calls it.
func (p *peers) resolve(ctx context.Context, now time.Time) {
	if now.Sub(p.resolved) < resolveEvery {
		return
	}
	p.resolved = now
	for _, known := range p.configured { // the list does not change, nor does an address
		host, port, err := net.SplitHostPort(known.address)
		if err != nil || net.ParseIP(host) != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, resolveTimeout)
		found, err := net.DefaultResolver.LookupHost(limited, host)
		cancel()
		if err != nil {
			continue // nats-server has the same trouble, and says so
		}
		var places []string
		for _, ip := range found {
			places = append(places, net.JoinHostPort(ip, port))
		}
		p.mu.Lock()
		known.places = places
		p.mu.Unlock()
	}
}

// look takes note of who is connected, logs what is new and returns the routes.
func (p *peers) look(list []remote, now time.Time, logger *zap.Logger) []Route {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log(list, logger)
	var routes []Route
	shown := map[string]bool{}
	for _, known := range p.configured {
		known.meet(list, now)
		shown[known.id] = true
		routes = append(routes, Route{
			Address: known.address, Name: known.member, Configured: true, Connected: known.id != "", Since: known.since, Error: known.failure,
		})
	}
	for _, r := range list {
		if !shown[r.id] {
			member, _ := splitName(r.name)
			routes = append(routes, Route{Address: r.address, Name: member, Connected: true, Since: r.start})
		}
	}
	return routes
}

// log says who has come and gone. The caller holds mu.
func (p *peers) log(list []remote, logger *zap.Logger) {
	gone := p.connected
	p.connected = map[string]remote{}
	for _, r := range list {
		if _, old := gone[r.id]; !old {
			logger.Info("connected to another broker of the network", r.fields()...)
		}
		delete(gone, r.id)
		p.connected[r.id] = r
	}
	for _, r := range gone {
		logger.Info("lost another broker of the network", r.fields()...)
	}
}

func (r remote) fields() []zap.Field {
	member, _ := splitName(r.name)
	return []zap.Field{zap.String("member", member), zap.String("address", r.address)}
}

// meet finds who is connected at a configured address.
func (k *peer) meet(list []remote, now time.Time) {
	i := slices.IndexFunc(list, k.is)
	if i < 0 {
		if k.id != "" {
			k.id, k.since = "", now
		}
		return
	}
	k.id, k.since, k.failure = list[i].id, list[i].start, ""
	k.member, _ = splitName(list[i].name)
}

// is says that a remote is reached at this address: we have connected to it there; or it has connected to us from that machine, and
// listens on that port.
func (k *peer) is(r remote) bool {
	address := r.address
	if !r.solicited || !slices.Contains(k.places, address) {
		host, _, _ := net.SplitHostPort(address)
		_, port := splitName(r.name)
		address = net.JoinHostPort(host, port)
	}
	return slices.Contains(k.places, address)
}

// failed notes what nats-server says of an attempt to connect to a configured address. That it was closed, which it says after
// any failure, is a reason where there is no better one.
func (p *peers) failed(line, failure string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, closed := time.Now(), strings.Contains(failure, connectionClosed)
	for _, known := range p.configured {
		host, _, _ := net.SplitHostPort(known.address)
		about := func(place string) bool {
			return strings.HasPrefix(line, place+" - rid:") || strings.Contains(line, " "+place+":")
		}
		if !slices.ContainsFunc(known.places, about) && !strings.Contains(line, "lookup "+host) {
			continue
		}
		if !closed || now.Sub(known.failed) > betterReason {
			known.failure = failure
		}
		if !closed {
			known.failed = now
		}
	}
}

// external notes where the servers are.
func (p *peers) external(urls []string, now time.Time) {
	for _, u := range urls {
		p.configured = append(p.configured, &peer{address: redacted(u)})
	}
	p.since = now
}

// moved notes that the connection was made, or lost because of an error.
func (p *peers) moved(failure error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.failure = now, failure
}

// refused notes why there is no connection.
func (p *peers) refused(failure error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = failure
}

// servers are the external ones. We are connected to one of them, which may be one that the others have told of.
func (p *peers) servers(nc *nats.Conn) []Route {
	at := ""
	if text := nc.ConnectedUrl(); text != "" {
		at = redacted(text)
	}
	name := nc.ConnectedServerName()
	p.mu.Lock()
	defer p.mu.Unlock()
	var routes []Route
	found := at == ""
	for _, known := range p.configured {
		route := Route{Address: known.address, Configured: true, Since: p.since}
		if known.address == at && !found {
			found, route.Connected, route.Name = true, true, name
		} else if p.failure != nil {
			route.Error = p.failure.Error()
		}
		routes = append(routes, route)
	}
	if !found {
		routes = append(routes, Route{Address: at, Name: name, Connected: true, Since: p.since})
	}
	return routes
}
