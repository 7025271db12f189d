package config

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxNodeBytes   = 64 // as the record of the register has room for
	minSecretBytes = 16
	minLease       = 300 * time.Millisecond // 150 of them are the guard of the dispatching master
	maxURLs        = 16
	maxReplicas    = 5 // as NATS allows
)

var (
	nodeName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	keyName    = regexp.MustCompile(`^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$`)
)

// failover checks what the mode needs; what it does not read may be anything.
func (v *validation) failover(f Failover, listen string) {
	v.choice("failover.mode", f.Mode, "none", "pair", "shared")
	if f.Mode != "none" && f.Health != "" {
		v.address("failover.health", f.Health)
	}
	if f.Mode != "pair" {
		return
	}
	v.name("failover.name", f.Name)
	if f.Node == "" {
		v.add("failover.node", "a pair needs it: a name for this node, which is not the other's")
	} else {
		v.name("failover.node", f.Node)
	}
	v.secret("failover.secret", f.Secret, f.SecretFile, "failover.secret_file")
	v.pairAddresses(f)
	v.advertised(f, listen)
	v.choice("failover.standby", f.Standby, "proxy", "refuse")
	v.choice("failover.on_standby_loss", f.OnStandbyLoss, "degrade", "block")
	v.pairTimes(f)
	v.positive("failover.retain", int64(f.Retain))
	v.register(f.Register)
}

// pairAddresses checks where the nodes meet, and that nobody unknown can come between them.
func (v *validation) pairAddresses(f Failover) {
	for _, a := range []struct{ key, value string }{{"failover.listen", f.Listen}, {"failover.peer", f.Peer}} {
		if a.value == "" {
			v.add(a.key, "a pair needs it: HOST:PORT, such as 127.0.0.1:61623")
			continue
		}
		host, ok := v.address(a.key, a.value)
		if ok && !isLoopback(host) && f.Secret == "" && f.SecretFile == "" {
			v.add(a.key, "%s is not on this machine alone, and who speaks there has to prove who it is: "+
				"set failover.secret or failover.secret_file to the same secret on both nodes", a.value)
		}
	}
	if f.Listen != "" && f.Listen == f.Peer {
		v.add("failover.peer", "%s is where this node listens itself (failover.listen)", f.Peer)
	}
	if _, port, err := net.SplitHostPort(f.Peer); err == nil && port == "0" {
		v.add("failover.peer", "%s: port 0 is no port to connect to", f.Peer)
	}
}

// advertised checks what clients are told: where they reach this node.
func (v *validation) advertised(f Failover, listen string) {
	if f.Advertise != "" {
		v.reachable("failover.advertise", f.Advertise, "a.example:61613")
		return
	}
	host, _, err := net.SplitHostPort(listen)
	peer, _, peerErr := net.SplitHostPort(f.Peer)
	switch {
	case err != nil || peerErr != nil: // that is said already
	case isAny(host):
		v.add("failover.advertise", "stomp.listen is %s, every address of this machine: "+
			"say under which one clients reach this node, such as a.example:61613", listen)
	case isLoopback(host) && !isLoopback(peer):
		v.add("failover.advertise", "clients would be told %s (stomp.listen), which on another machine is that machine: "+
			"say under which address they reach this node, such as a.example:61613", listen)
	}
}

// reachable checks HOST:PORT of something to connect to.
func (v *validation) reachable(key, value, example string) {
	host, ok := v.address(key, value)
	_, port, _ := net.SplitHostPort(value)
	if ok && (isAny(host) || strings.Trim(port, "0") == "") {
		v.add(key, "%s is nothing to connect to: want HOST:PORT, such as %s", value, example)
	}
}

// isAny says that a host stands for every address of the machine.
func isAny(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// pairTimes checks that of what happens when a node is silent the one comes before the other.
func (v *validation) pairTimes(f Failover) {
	v.positive("failover.beacon", int64(f.Beacon))
	v.positive("failover.hold_timeout", int64(f.HoldTimeout))
	v.longEnough("failover.lease", f.Lease, "the least lease", minLease)
	v.longEnough("failover.lease", f.Lease, "three times failover.beacon", 3*f.Beacon)
	v.longEnough("failover.degrade_after", f.DegradeAfter, "two times failover.beacon", 2*f.Beacon)
	v.longerThan("failover.fence_after", f.FenceAfter, "failover.degrade_after", f.DegradeAfter)
	v.longerThan("failover.fence_after", f.FenceAfter, "failover.lease", f.Lease)
}

func (v *validation) register(r Register) {
	if len(r.URLs) == 0 || len(r.URLs) > maxURLs {
		v.add("failover.register.urls", "%d servers: want 1 to %d, such as [nats://127.0.0.1:61622]", len(r.URLs), maxURLs)
	}
	for _, u := range r.URLs {
		v.url("failover.register.urls", u, "failover.register.token", r.Token != "" || r.TokenFile != "")
	}
	v.oneSecret("failover.register.token", r.Token, r.TokenFile, "failover.register.token_file")
	if !bucketName.MatchString(r.Bucket) || len(r.Bucket) > maxNodeBytes {
		v.add("failover.register.bucket", `%q: want 1 to %d letters, digits, "_" and "-"`, r.Bucket, maxNodeBytes)
	}
	if r.Key != "" && (!keyName.MatchString(r.Key) || len(r.Key) > maxNodeBytes) {
		v.add("failover.register.key", `%q: want up to %d letters, digits, "_", "-", "=" and "/", in parts with a "." between them`, r.Key, maxNodeBytes)
	}
	v.between("failover.register.replicas", r.Replicas, 0, maxReplicas)
}

// url checks an address of NATS, which is shown without its password.
func (v *validation) url(key string, u URL, tokenKey string, hasToken bool) {
	parsed, err := url.Parse(u.Reveal())
	if err != nil || parsed.Scheme != "nats" && parsed.Scheme != "tls" || parsed.Hostname() == "" || parsed.Path != "" || parsed.RawQuery != "" {
		v.add(key, "%q: want nats://HOST:PORT or tls://HOST:PORT", u)
		return
	}
	if port := parsed.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			v.add(key, "%q: port %q: want 1 to 65535", u, port)
		}
	}
	if parsed.User != nil && hasToken {
		v.add(key, "%q: there is a token too (%s): a server takes one of both", u, tokenKey)
	}
}

func (v *validation) arbiter(a Arbiter) {
	v.text("arbiter.data", a.Data)
	v.secret("arbiter.token", a.Token, a.TokenFile, "arbiter.token_file")
	host, ok := v.address("arbiter.listen", a.Listen)
	if ok && !isLoopback(host) && a.Token == "" && a.TokenFile == "" {
		v.add("arbiter.listen", "%s can be reached from other machines: set arbiter.token or arbiter.token_file, "+
			"or listen on 127.0.0.1, where a token that is made at the first start is enough", a.Listen)
	}
}

func (v *validation) name(key, value string) {
	if !nodeName.MatchString(value) || len(value) > maxNodeBytes {
		v.add(key, `%q: want 1 to %d letters, digits, ".", "_" and "-", the first a letter or digit`, value, maxNodeBytes)
	}
}

// secret checks one that we ask for: it must be hard to guess.
func (v *validation) secret(key string, value Secret, file, fileKey string) {
	v.oneSecret(key, value, file, fileKey)
	if n := len(value); n > 0 && n < minSecretBytes && value.Reveal() != hidden {
		v.add(key, "%d characters are easily guessed: want at least %d", n, minSecretBytes)
	}
}

// oneSecret checks that a secret is given in one way, and is not what is printed in its place.
func (v *validation) oneSecret(key string, value Secret, file, fileKey string) {
	if value.Reveal() == hidden {
		v.add(key, "%q is what is printed in the place of a secret, not the secret", value)
	}
	if value != "" && file != "" {
		v.add(fileKey, "%q: there is %s too: want one of both", file, key)
	}
}

func (v *validation) longEnough(key string, d time.Duration, what string, least time.Duration) {
	if d < least && !v.problems.has(key) {
		v.add(key, "%s: want at least %s (%s)", durationText(d), durationText(least), what)
	}
}

func (v *validation) longerThan(key string, d time.Duration, otherKey string, other time.Duration) {
	if d <= other && !v.problems.has(key) {
		v.add(key, "%s: want more than %s (%s)", durationText(d), otherKey, durationText(other))
	}
}
