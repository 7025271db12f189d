package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

const (
	maxMemberBytes   = 64
	maxNetworkRoutes = 64
	maxStatic        = 64
	minSilence       = time.Second // members are heard of several times in it
)

// memberName has no dot: the name is one part of a subject of NATS.
var memberName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// maxHops is the most that network.max_hops may say: one selector tells them.
const maxHops = 100

// network checks what a member needs; of a broker without a name it reads nothing.
func (v *validation) network(n Network) {
	if !n.Enabled() {
		return
	}
	v.member("network.name", n.Name)
	v.secret("network.secret", n.Secret, n.SecretFile, "network.secret_file")
	v.oneSecret("network.token", n.Token, n.TokenFile, "network.token_file")
	if len(n.URLs) > 0 {
		v.networkServers(n)
	} else {
		v.networkRoutes(n)
	}
	v.networkTLS(n)
	v.patterns("network.include", n.Include)
	v.patterns("network.exclude", n.Exclude)
	v.static(n)
	v.between("network.max_hops", n.MaxHops, 0, maxHops)
	v.positive("network.transfer_timeout", int64(n.TransferTimeout))
	v.longEnough("network.silence", n.Silence, "members are heard of several times in it", minSilence)
}

// networkServers checks a network that meets on NATS servers of its own.
func (v *validation) networkServers(n Network) {
	if len(n.Routes) > 0 {
		v.add("network.routes", "there are network.urls too: brokers meet on NATS servers of their own, or connect to each other by routes")
	}
	if len(n.URLs) > maxURLs {
		v.add("network.urls", "%d servers: want at most %d", len(n.URLs), maxURLs)
	}
	for _, u := range n.URLs {
		v.url("network.urls", u, "network.token", n.Token != "" || n.TokenFile != "")
	}
}

// networkRoutes checks where brokers connect to each other, and that nobody unknown can come between them.
func (v *validation) networkRoutes(n Network) {
	hasSecret := n.Secret != "" || n.SecretFile != ""
	const prove = "who speaks there has to prove who it is: set network.secret or network.secret_file to the same secret on all brokers"
	if host, ok := v.address("network.listen", n.Listen); ok && !isLoopback(host) && !hasSecret {
		v.add("network.listen", "%s is not on this machine alone, and "+prove, n.Listen)
	}
	if len(n.Routes) > 0 && !hasSecret {
		v.add("network.secret", "network.routes lead to other brokers, and "+prove)
	}
	if n.Token != "" || n.TokenFile != "" {
		v.add("network.token", "is for network.urls, and there are none: what brokers with routes know is network.secret")
	}
	if n.Advertise != "" {
		v.reachable("network.advertise", n.Advertise, "a.example:61633")
	}
	if len(n.Routes) > maxNetworkRoutes {
		v.add("network.routes", "%d brokers: want at most %d; a route to one is enough to find the others", len(n.Routes), maxNetworkRoutes)
	}
	for i, route := range n.Routes {
		at := fmt.Sprintf("network.routes[%d]", i)
		v.reachable(at, route, "b.example:61633")
		if slices.Index(n.Routes, route) < i {
			v.add(at, "%s is there twice", route)
		}
	}
}

func (v *validation) networkTLS(n Network) {
	t := n.TLS
	if (t.Cert == "") != (t.Key == "") {
		v.add("network.tls", "want cert and key, or neither: the one is nothing without the other")
		return
	}
	if len(n.URLs) == 0 && t != (NetworkTLS{}) && (t.CA == "" || t.Cert == "") {
		v.add("network.tls", "want ca, cert and key: on a route each broker proves to the other who it is")
	}
}

// static checks where messages go that nobody has asked for.
func (v *validation) static(n Network) {
	if len(n.Static) > maxStatic {
		v.add("network.static", "%d entries: want at most %d; one pattern names many queues", len(n.Static), maxStatic)
	}
	for i, s := range n.Static {
		at := fmt.Sprintf("network.static[%d].", i)
		v.text(at+"destination", s.Destination)
		switch {
		case s.To == n.Name:
			v.add(at+"to", "%s is this broker itself: want the network.name of another one", s.To)
		default:
			v.member(at+"to", s.To)
		}
		for j, other := range n.Static[:i] {
			if other.Destination == s.Destination && s.Destination != "" {
				v.add(at+"destination", "%s is that of network.static[%d]: messages of a queue go to one member", s.Destination, j)
				break
			}
		}
	}
}

// patterns leaves their syntax to who knows it ([Sources.Check]).
func (v *validation) patterns(key string, list []string) {
	for i, pattern := range list {
		v.text(fmt.Sprintf("%s[%d]", key, i), pattern)
	}
}

func (v *validation) member(key, value string) {
	if !memberName.MatchString(value) || len(value) > maxMemberBytes {
		v.add(key, `%q: want 1 to %d letters, digits, "_" and "-"`, value, maxMemberBytes)
	}
}
